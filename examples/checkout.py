"""Runs the order sequence of a shop over 6,919 real purchases: check, validate, reserve, order, pay.

    python examples/checkout.py

Every purchase is one run of one plan, against a real SQLite database. A second file of faulty lines is refused line by
line. The file has no products: which product a line buys, and the stock that this takes, come from the seed it prints.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar, NoReturn, TextIO

import anyio
from purchases import BrokenLine, OrderId, Purchase, Refused, initial_stock, read_purchases
from shop import Order, Shop

from fusynk import backoff, compile_plan, layer, run_of, use

DATA = Path(__file__).parent / "data"
PURCHASES, FAULTY = "purchases", "faulty"
CARD_LIMIT = 100_000  # cents
REDRAW, LINES = 0.1, 1_000  # seconds between two progress lines on a terminal, lines read between two elsewhere

# Set once by whoever runs the plan. Every layer sees the variables of its caller, so no layer needs a parameter for it.
current_shop: ContextVar[Shop] = ContextVar("current_shop")


class OutOfStock(Refused):
    """The shop has fewer CDs than the customer wants."""

    reason: ClassVar[str] = "out of stock"


class UnknownCustomer(Refused):
    """The shop has no such customer."""

    reason: ClassVar[str] = "unknown customer"


class PaymentDeclined(Refused):
    """The customer cannot pay that much."""

    reason: ClassVar[str] = "payment declined"


@dataclass(frozen=True, slots=True)
class Stock:
    """What the shop had of a product when it looked."""

    product: str
    on_hand: int


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer the shop knows."""

    customer_id: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """CDs that are off the shelf and not sold yet."""

    product: str
    cds: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was paid for an order."""

    order_id: OrderId
    cents: int


def is_locked(error: Exception) -> bool:
    """Says whether another program was writing to the database, which is worth another attempt."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# The layers are async functions that never wait: a statement takes microseconds, a hop to a thread takes longer, and
# the connection stays in one thread. Against a database over the network each of them would await its driver.
@layer
async def check_inventory(product: str, cds: int) -> Stock:
    """Returns the stock of a product, or refuses an order that is larger than it."""
    stock = Stock(product, current_shop.get().on_hand(product))
    if stock.on_hand < cds:
        raise OutOfStock(f"{cds:,} of {product} are wanted, {stock.on_hand:,} are there")
    return stock


@layer
async def validate_customer(customer_id: str, sample_id: str) -> Customer:
    """Returns the customer, or refuses an order of somebody the shop does not know."""
    if not current_shop.get().knows(customer_id, sample_id):
        raise UnknownCustomer(f"no customer has the numbers {customer_id} and {sample_id}")
    return Customer(customer_id)


# The first layer that writes, so it waits for both checks, and it opens the transaction. The two layers after it write
# inside the same transaction, and `serve` ends it: with a commit after the last layer, with a rollback when any layer
# refuses. So a declined payment takes its order and its reservation with it, and a crash leaves nothing half done.
# While another program writes, this layer is tried again, and everything else in the event loop goes on meanwhile.
@layer(depends_on=validate_customer, retries=8, retry_delay=backoff(0.01, factor=2, max=1), retry_on=is_locked)
async def reserve_inventory(cds: int, stock: Stock = use(check_inventory)) -> Reservation:
    """Takes the CDs off the shelf. Another program may have sold them since `check_inventory`: then it refuses too."""
    shop = current_shop.get()
    shop.begin()
    if not shop.reserve(stock.product, cds):
        raise OutOfStock(f"{cds:,} of {stock.product} were there and are gone")
    return Reservation(stock.product, cds)


@layer
async def create_order(
    order_id: OrderId,
    bought_on: date,
    cents: int,
    customer: Customer = use(validate_customer),
    reservation: Reservation = use(reserve_inventory),
) -> Order:
    """Writes the order for the CDs reserved."""
    order = Order(
        order_id=order_id,
        customer_id=customer.customer_id,
        product=reservation.product,
        cds=reservation.cds,
        cents=cents,
        bought_on=bought_on,
    )
    current_shop.get().add_order(order)
    return order


@layer
async def process_payment(order: Order = use(create_order)) -> Receipt:
    """Writes the payment, or declines an amount above the limit of the card. An amount of zero is a payment too."""
    if order.cents > CARD_LIMIT:
        raise PaymentDeclined(f"{dollars(order.cents)} is more than the {dollars(CARD_LIMIT)} of the card")
    current_shop.get().add_payment(order)
    return Receipt(order.order_id, order.cents)


checkout = compile_plan(process_payment, inputs=Purchase)  # compiled once, run once for every purchase


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not served: where it stands, which step refused it, and why."""

    order_id: OrderId
    step: str
    error: Refused

    def __str__(self) -> str:
        return f"{self.order_id.source} line {self.order_id.line}: {self.error.reason}: {self.error} ({self.step})"


class Progress:
    """How far the lines are: one line rewritten ten times a second on a terminal, a plain line per 1,000 elsewhere."""

    def __init__(self, total: int, stream: TextIO, *, quiet: bool = False) -> None:
        self.total = total
        self.stream = stream
        self.quiet = quiet
        self.rewrites = stream.isatty()
        self.started = time.monotonic()
        self.shown = self.started

    def advance(self, served: int) -> None:
        """Shows the count where it is due."""
        if self.quiet:
            return
        text = f"{served:,} of {self.total:,} lines"
        now = time.monotonic()
        if not self.rewrites:
            if served % LINES == 0 or served == self.total:
                print(f"{text}, {now - self.started:.1f} s", file=self.stream, flush=True)
        elif now - self.shown >= REDRAW or served == self.total:
            self.shown = now
            end = "\n" if served == self.total else ""
            print(f"\r{text}, {now - self.started:.1f} s", end=end, file=self.stream, flush=True)


async def serve(purchase: Purchase) -> Receipt:
    """Returns the receipt of a purchase. All that its run wrote is committed at the end, or rolled back if it raises.

    Raises:
        Refused: A layer refused the order. It is the layer's own exception, as the layer raised it.
    """
    with current_shop.get().transaction:
        run = await checkout.run(purchase)
    return run.result


async def serve_all(shop: Shop, entries: Sequence[Purchase | BrokenLine], progress: Progress) -> list[Refusal]:
    """Serves one line after another, and returns what was refused.

    One at a time, because a SQLite database has one writer, and because the outcome is then the same every time.
    """
    current_shop.set(shop)
    refusals: list[Refusal] = []
    for served, entry in enumerate(entries, 1):
        if isinstance(entry, BrokenLine):
            refusals.append(Refusal(entry.order_id, "reading", entry))
        else:
            try:
                await serve(entry)
            except Refused as error:
                refusals.append(Refusal(entry.order_id, refusing_step(error), error))
        progress.advance(served)
    return refusals


def refusing_step(error: Refused) -> str:
    """Returns the name of the step that raised the error, which the run remembers."""
    run = run_of(error)
    return run.cause or "" if run else ""


def dollars(cents: int) -> str:
    """Returns an amount as people write it. Money is counted in whole cents, so nothing is rounded."""
    return f"${cents // 100:,}.{cents % 100:02}"


def totals(shop: Shop, lines: int, refusals: Sequence[Refusal]) -> dict[str, str]:
    """Returns the rows of the totals, as printed."""
    sums = shop.totals()
    refused = Counter(refusal.error.reason for refusal in refusals)
    kinds = (BrokenLine, UnknownCustomer, OutOfStock, PaymentDeclined)
    return {
        "lines read": f"{lines:,}",
        "orders created": f"{sums.orders:,}",
        **{f"refused: {kind.reason}": f"{refused[kind.reason]:,}" for kind in kinds},
        "customers who bought": f"{sums.customers:,}",
        "CDs in stock at first": f"{sums.initial:,}",
        "CDs sold": f"{sums.cds:,}",
        "CDs left": f"{sums.on_hand:,}",
        "revenue": dollars(sums.cents),
    }


def checks(shop: Shop, entries: Sequence[Purchase | BrokenLine], refusals: Sequence[Refusal]) -> dict[str, bool]:
    """Returns what has to be true at the end, and whether it is."""
    ordered = shop.order_ids()
    refused = [refusal.order_id for refusal in refusals]
    return {
        "each line is one order or one refusal": sorted(ordered + refused) == sorted(each.order_id for each in entries),
        "every purchase is served": all(order_id.source != PURCHASES for order_id in refused),
        "every faulty line is refused": all(order_id.source != FAULTY for order_id in ordered),
        **shop.checks(),
    }


class Options(argparse.Namespace):
    """The command line."""

    seed: int
    limit: int | None
    purchases: Path
    faulty: Path
    database: Path | None
    quiet: bool


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and leaves with 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help shows the options)\n")


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Run the order sequence of a shop over real purchases.")
    parser.add_argument("--seed", type=int, default=1997, help="decides products and stock (default: %(default)s)")
    parser.add_argument("--limit", type=count, metavar="N", help="serve the first N purchases only")
    parser.add_argument("--purchases", type=Path, default=DATA / "cdnow_sample.csv", help="CSV file of purchases")
    parser.add_argument("--faulty", type=Path, default=DATA / "faulty_orders.csv", help="CSV file of faulty lines")
    parser.add_argument("--database", type=Path, help="keep the database here (default: a temporary file)")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def count(text: str) -> int:
    """Returns a number of lines, 1 or more."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def open_shop(path: Path) -> Shop:
    """Returns a shop with an empty database.

    Raises:
        ValueError: The file exists, or cannot be made.
    """
    if path.exists():
        raise ValueError(f"the database {path} exists already; name a new file")
    try:
        return Shop(path)
    except sqlite3.Error as error:
        raise ValueError(f"cannot make the database {path}: {error}") from error


def run_shop(
    shop: Shop, purchases: list[Purchase | BrokenLine], faulty: list[Purchase | BrokenLine], options: Options
) -> bool:
    """Serves the lines and prints what came of them. Returns whether all is as it should be."""
    readable = [entry for entry in purchases if isinstance(entry, Purchase)]
    shop.fill(initial_stock(readable, options.seed), readable)
    entries = purchases[: options.limit] + faulty
    print(f"seed {options.seed}: it decides which product each line buys, and the stock", flush=True)
    refusals = anyio.run(serve_all, shop, entries, Progress(len(entries), sys.stderr, quiet=options.quiet))
    print("\nRefused", *refusals, sep="\n  ")
    print("\nTotals")
    for name, value in totals(shop, len(entries), refusals).items():
        print(f"  {name:28}{value:>12}")
    print("\nChecks")
    results = checks(shop, entries, refusals)
    for claim, holds in results.items():
        print(f"  {'ok' if holds else 'FAILED':8}{claim}")
    return all(results.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0 when every purchase was served, every faulty line refused and every check holds."""
    parser = command_line()
    options = parser.parse_args(arguments, Options())
    with tempfile.TemporaryDirectory(prefix="checkout-") as folder:
        try:
            purchases = read_purchases(options.purchases, PURCHASES, options.seed)
            faulty = read_purchases(options.faulty, FAULTY, options.seed)
            shop = open_shop(options.database or Path(folder) / "shop.db")
        except OSError as error:
            parser.error(f"cannot read {error.filename}: {error.strerror}")
        except ValueError as error:
            parser.error(str(error))
        with shop:
            return 0 if run_shop(shop, purchases, faulty, options) else 1


if __name__ == "__main__":
    try:
        exit_code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        exit_code = 130
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = 1
    sys.exit(exit_code)

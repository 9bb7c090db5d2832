"""Takes orders: kill it at any moment and start it again, and each order comes to its end with one payment.

    python examples/durable_orders.py orders.db
    python examples/durable_orders.py orders.db --orders 1000 &
    kill -9 %1
    python examples/durable_orders.py orders.db --orders 1000

Each order is a run of its own, recorded under its number. What was recorded before the kill does not run again; what
was in flight may, so the bank is told a key that is the same each time, and counts a payment once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
from scripts import Parser, leave_with

from fusynk import Batch, SqliteJournal, compile_plan, current_step, each, layer, use
from fusynk.errors import JournalError

PRICES = {"chair": 4900, "lamp": 1950, "table": 18900}


@dataclass(frozen=True)
class Line:
    """A line of an order."""

    product: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    """What the customer gets.

    Attributes:
        cents: What was paid.
        key: What the bank knows the payment by.
    """

    cents: int
    key: str


class Bank:
    """Books payments in a file, each of which counts once however often it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pay(self, key: str, cents: int) -> None:
        """Books a payment."""
        with self._path.open("a", encoding="utf-8") as file:
            _ = file.write(json.dumps([key, cents]) + "\n")

    def payments(self) -> dict[str, int]:
        """Returns what was paid, by key; a line that a kill has torn counts for nothing."""
        found: dict[str, int] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                key, cents = json.loads(line)
            except ValueError:
                continue
            found[key] = cents
        return found


@layer
async def lines(number: int) -> list[Line]:
    """Looks up what is ordered."""
    products = sorted(PRICES)
    return [Line(products[(number + place) % 3], 1 + place) for place in range(1 + number % 3)]


@layer.each
async def priced(line: Line = each(lines)) -> int:
    """Asks for the price of a line."""
    await anyio.lowlevel.checkpoint()
    return PRICES[line.product] * line.quantity


@layer
async def paid(bank: str, cents: Batch[int] = use(priced)) -> Receipt:
    """Has the bank book the payment."""
    receipt = Receipt(sum(cents), current_step().idempotency_key)
    await anyio.to_thread.run_sync(Bank(Path(bank)).pay, receipt.key, receipt.cents)
    return receipt


take_order = compile_plan(paid)


async def take_orders(path: Path, orders: int) -> int:
    """Takes orders one after the other, goes on with what was left, and returns what was paid for all of them.

    Raises:
        JournalError: The file cannot be used; it says why, and the file is left as it is.
    """
    plan, total = take_order.options(journal=SqliteJournal(path)), 0
    for number in range(1, orders + 1):
        run = await plan.options(run_id=f"order-{number}").run(number=number, bank=f"{path}.bank")
        total += run.result.cents
        if run.replayed:
            known = f"{len(run.replayed)} records before" if run.attempts() else "complete before"
            print(f"Order {number}: {known}, {run.result.cents} cents", flush=True)
        else:
            print(f"Order {number}: {run.result.cents} cents", flush=True)
    return total


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Take orders, and go on with what a former run of this script has left.")
    parser.add_argument("file", type=Path, nargs="?", default=Path("orders.db"), help="(default: %(default)s)")
    parser.add_argument("--orders", type=int, default=10, help="how many there are (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.orders < 0:
        parser.error("--orders must be 0 or more")
    try:
        total = anyio.run(take_orders, options.file, options.orders)
    except JournalError as error:
        parser.error(str(error))
    booked = Bank(Path(f"{options.file}.bank")).payments()
    print(f"{options.orders} orders for {total} cents, and {len(booked)} payments of {sum(booked.values())} cents.")
    return 0 if sum(booked.values()) == total else 1


if __name__ == "__main__":
    leave_with(main)

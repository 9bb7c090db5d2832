"""The main example, run as its reader runs it. Every number it prints is computed here again, from its two files."""

import csv
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PURCHASES = EXAMPLES / "data" / "cdnow_sample.csv"
FAULTY = EXAMPLES / "data" / "faulty_orders.csv"
SEED = 1997
WELL_FORMED = re.compile(r"[0-9]{5},[0-9]{4},[0-9]{4}-[0-9]{2}-[0-9]{2},[1-9][0-9]{0,8},[0-9]{1,9}\.[0-9]{2}")


def command(
    *arguments: str | Path, script: str = "checkout.py", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script of the examples in an interpreter of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


@dataclass(frozen=True)
class Books:
    """What the two files and the seed say, worked out with none of the example's code."""

    seed: int = SEED

    @cached_property
    def purchases(self) -> dict[int, dict[str, str]]:
        with PURCHASES.open(encoding="utf-8", newline="") as file:
            return dict(enumerate(csv.DictReader(file), 2))

    @cached_property
    def faulty(self) -> dict[int, str]:
        return dict(enumerate(FAULTY.read_text(encoding="utf-8").split("\n")[1:-1], 2))

    def product(self, source: str, line: int) -> str:
        return f"cd-{random.Random(f'{self.seed}/{source}/{line}').randrange(200):03}"

    @cached_property
    def sold(self) -> Counter[str]:
        sold: Counter[str] = Counter()
        for line, row in self.purchases.items():
            sold[self.product("purchases", line)] += int(row["cds"])
        return sold

    @cached_property
    def left(self) -> dict[str, int]:
        return {f"cd-{n:03}": random.Random(f"{self.seed}/spare/{n}").randrange(50, 100) for n in range(200)}

    @cached_property
    def customers(self) -> set[tuple[str, str]]:
        return {(row["customer_id"], row["sample_id"]) for row in self.purchases.values()}

    @cached_property
    def revenue(self) -> Decimal:
        return sum((Decimal(row["amount_usd"]) for row in self.purchases.values()), Decimal(0))

    def refusal(self, line: int) -> tuple[str, str]:
        """The reason and the step that refuse a line of the faulty file."""
        text = self.faulty[line]
        if not WELL_FORMED.fullmatch(text) or not is_a_day(text.split(",")[2]):
            return "broken line", "reading"
        customer, sample, _, cds, amount = text.split(",")
        if int(cds) > self.left[self.product("faulty", line)]:
            return "out of stock", "check_inventory"
        if (customer, sample) not in self.customers:
            return "unknown customer", "validate_customer"
        assert Decimal(amount) > 1000
        return "payment declined", "process_payment"


def is_a_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 a day of the calendar has no zone
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class FullRun:
    """One run over both files, and the database it left."""

    command: subprocess.CompletedProcess[str]
    database: Path

    def section(self, title: str) -> list[str]:
        """The lines under a title of the output."""
        _, _, rest = self.command.stdout.partition(f"\n{title}\n")
        return [line.strip() for line in rest.split("\n\n")[0].splitlines()]

    def totals(self) -> dict[str, str]:
        rows = [line.rpartition(" ") for line in self.section("Totals")]
        return {name.strip(): value for name, _, value in rows}

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def books() -> Books:
    return Books()


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> FullRun:
    database = tmp_path_factory.mktemp("checkout") / "shop.db"
    return FullRun(command("--database", database), database)


def test_the_whole_file_is_served_and_every_check_holds(full_run: FullRun) -> None:
    assert full_run.command.returncode == 0, full_run.command.stderr
    assert [line for line in full_run.section("Checks") if not line.startswith("ok ")] == []
    assert len(full_run.section("Checks")) == 8
    assert f"seed {SEED}" in full_run.command.stdout.splitlines()[0]


def test_every_total_printed_is_what_the_files_say(full_run: FullRun, books: Books) -> None:
    refused = Counter(reason for reason, _ in map(books.refusal, books.faulty))
    assert full_run.totals() == {
        "lines read": f"{len(books.purchases) + len(books.faulty):,}",
        "orders created": f"{len(books.purchases):,}",
        **{f"refused: {reason}": str(number) for reason, number in refused.items()},
        "customers who bought": f"{len(books.customers):,}",
        "CDs in stock at first": f"{books.sold.total() + sum(books.left.values()):,}",
        "CDs sold": f"{books.sold.total():,}",
        "CDs left": f"{sum(books.left.values()):,}",
        "revenue": f"${books.revenue:,}",
    }


def test_the_files_are_the_ones_their_description_speaks_of(books: Books) -> None:
    rows = Counter(tuple(row.values()) for row in books.purchases.values())
    assert (len(books.purchases), len(books.customers), books.revenue) == (6919, 2357, Decimal("244091.94"))
    assert sum(rows.values()) - len(rows) == 21
    assert sum(Decimal(row["amount_usd"]) == 0 for row in books.purchases.values()) == 8
    reasons = Counter(reason for reason, _ in map(books.refusal, books.faulty))
    assert reasons == {"broken line": 22, "unknown customer": 4, "out of stock": 4, "payment declined": 3}


def test_each_line_is_one_order_with_its_own_values_and_its_own_payment(full_run: FullRun, books: Books) -> None:
    orders = full_run.select("SELECT line, customer, bought_on, product, cds, cents FROM orders ORDER BY line")
    assert orders == [
        (
            line,
            row["customer_id"],
            row["date"],
            books.product("purchases", line),
            int(row["cds"]),
            int(row["amount_usd"].replace(".", "")),
        )
        for line, row in books.purchases.items()
    ]
    payments = full_run.select("SELECT line, cents FROM payments ORDER BY line")
    assert payments == [(order[0], order[-1]) for order in orders]
    assert full_run.select("SELECT DISTINCT source FROM orders UNION SELECT source FROM payments") == [("purchases",)]


def test_rows_that_repeat_and_amounts_of_zero_are_orders_of_their_own(full_run: FullRun) -> None:
    counts = full_run.select("SELECT count(*) FROM orders GROUP BY customer, bought_on, cds, cents")
    assert sum(count - 1 for (count,) in counts) == 21
    assert full_run.select("SELECT count(*) FROM payments WHERE cents = 0") == [(8,)]


def test_the_stock_of_each_product_is_the_initial_one_less_what_was_sold(full_run: FullRun, books: Books) -> None:
    stock = full_run.select("SELECT product, initial, on_hand, reserved, sold FROM stock ORDER BY product")
    assert stock == [
        (product, left + books.sold[product], left, 0, books.sold[product]) for product, left in books.left.items()
    ]


def test_each_faulty_line_is_refused_with_its_reason_by_its_step(full_run: FullRun, books: Books) -> None:
    lines = "\n".join(full_run.section("Refused"))
    refused = re.findall(r"^faulty line (\d+): ([a-z ]+): .+ \((\w+)\)$", lines, re.MULTILINE)
    assert refused == [(str(line), *books.refusal(line)) for line in books.faulty]


def test_a_broken_value_is_named_with_its_line_and_column(full_run: FullRun, books: Books) -> None:
    lines = {text.split(",")[3]: line for line, text in books.faulty.items() if text.count(",") == 4}
    for value in ("two", "2.5", "-3", "0", "", "1_000"):
        expected = f"column cds: '{value}' is not a whole number from 1 to 999999999 (reading)"
        assert f"faulty line {lines[value]}: broken line: {expected}" in full_run.section("Refused")


def test_the_same_seed_prints_the_same_bytes(full_run: FullRun) -> None:
    assert command("--quiet").stdout == full_run.command.stdout


def test_another_seed_gives_another_stock_that_serves_every_purchase_too() -> None:
    other = command("--seed", "7", "--quiet")
    books = Books(seed=7)
    assert other.returncode == 0
    assert f"CDs left {sum(books.left.values()):,}" in re.sub(r" +", " ", other.stdout)


def test_progress_is_a_plain_line_per_thousand_off_a_terminal(full_run: FullRun) -> None:
    counts = [line.split(",  ")[0].partition(" of ")[0] for line in full_run.command.stderr.splitlines()]
    assert counts == ["1,000", "2,000", "3,000", "4,000", "5,000", "6,000", "6,952"]


def test_the_limit_serves_the_first_purchases_and_leaves_no_file_behind(tmp_path: Path) -> None:
    result = command("--limit", "10", "--quiet", TMPDIR=str(tmp_path), TEMP=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    assert "orders created 10" in re.sub(r" +", " ", result.stdout)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_line_among_the_purchases_is_refused_alone_and_the_command_says_so(tmp_path: Path) -> None:
    header, *rows = PURCHASES.read_text(encoding="utf-8").splitlines()
    rows = rows[:20]
    rows[4] = rows[4].replace(",", ',"', 1)
    rows[9] = "\xff"
    purchases = tmp_path / "purchases.csv"
    purchases.write_bytes("\n".join([header, *rows]).encode("latin-1"))
    result = command("--purchases", purchases, "--quiet")
    assert result.returncode == 1
    assert "purchases line 6: broken line: its quotes do not match" in result.stdout
    assert "purchases line 11: broken line: it has 1 columns instead of 5" in result.stdout
    assert "orders created 18" in re.sub(r" +", " ", result.stdout)
    assert "FAILED  every purchase is served" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--limit", "0"], "argument --limit: '0' is not a whole number above 0"),
        (["--purchases", "missing.csv"], "cannot read missing.csv: No such file or directory"),
        (["--faulty", __file__], f"the first line of {__file__} must be customer_id,sample_id,date,cds,amount_usd"),
        (["--database", __file__], f"the database {__file__} exists already; name a new file"),
        (["--database", "missing/shop.db"], "cannot make the database missing/shop.db: unable to open database file"),
    ],
    ids=["seed", "limit", "purchases", "faulty", "existing database", "database in no folder"],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments: Sequence[str], message: str) -> None:
    result = command(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"checkout.py: error: {message} (--help shows the options)\n"


def test_the_faulty_file_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    again = tmp_path / "faulty_orders.csv"
    assert command("--output", again, script="make_faulty.py").returncode == 0
    assert again.read_bytes() == FAULTY.read_bytes()


# What follows tests the layers and the plan of the example in process, as the reader of the example would.


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        yield import_module("checkout")


@pytest.fixture
def purchase(example: Any) -> Any:
    return example.Purchase(
        order_id=example.OrderId("purchases", 2),
        customer_id="00004",
        sample_id="0001",
        bought_on=date(1997, 1, 1),
        product="cd-001",
        cds=2,
        cents=2933,
    )


@pytest.fixture
def shop(example: Any, purchase: Any, tmp_path: Path) -> Iterator[Any]:
    """A shop with five CDs of one product and one customer."""
    with example.Shop(tmp_path / "shop.db") as shop:
        shop.fill({"cd-001": 5}, [purchase])
        yield shop


def contents(shop: Any) -> list[Any]:
    """Every row of the tables that an order changes."""
    tables = ("stock", "orders", "payments")
    return [row for table in tables for row in shop.connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 fixed


async def test_a_plan_of_stubs_needs_no_database(example: Any, purchase: Any) -> None:
    receipt = example.Receipt(purchase.order_id, 2933)
    plan = example.checkout.override(
        example.check_inventory.returns(example.Stock("cd-001", 5)),
        example.validate_customer.returns(example.Customer("00004")),
        example.reserve_inventory.returns(example.Reservation("cd-001", 2)),
        example.create_order.returns(None),
        example.process_payment.returns(receipt),
    )
    assert (await plan.run(purchase)).result == receipt


async def test_a_stub_that_promises_too_much_is_caught_by_the_reservation(
    example: Any, purchase: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(shop)
    stub = example.check_inventory.returns(example.Stock("cd-001", 1_000))
    monkeypatch.setattr(example, "checkout", example.checkout.override(stub))
    [refusal] = await example.serve_all(shop, [replace(purchase, cds=6)], example.Progress(1, StringIO()))
    assert str(refusal) == "purchases line 2: out of stock: 6 of cd-001 were there and are gone (reserve_inventory)"
    assert contents(shop) == before


async def test_a_declined_payment_takes_its_order_and_its_reservation_with_it(
    example: Any, purchase: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(shop)
    stub = example.process_payment.raises(example.PaymentDeclined("the card has expired"))
    monkeypatch.setattr(example, "checkout", example.checkout.override(stub))
    example.current_shop.set(shop)
    with pytest.raises(example.PaymentDeclined, match="the card has expired") as caught:
        await example.serve(purchase)
    assert example.run_of(caught.value)[example.create_order].cds == 2
    assert contents(shop) == before
    monkeypatch.undo()
    assert (await example.serve(purchase)).cents == 2933


async def test_the_last_cds_can_be_bought_and_no_more(example: Any, purchase: Any, shop: Any) -> None:
    wanted = [
        replace(purchase, order_id=example.OrderId("purchases", line), cds=cds)
        for line, cds in enumerate((2, 4, 3, 1), 2)
    ]
    refusals = await example.serve_all(shop, wanted, example.Progress(4, StringIO()))
    assert [refusal.order_id.line for refusal in refusals] == [3, 5]
    assert shop.on_hand("cd-001") == 0
    assert all(shop.checks().values())


async def test_a_locked_database_is_tried_again(example: Any, purchase: Any, shop: Any, tmp_path: Path) -> None:
    begun: list[str] = []
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def let_go_at_the_second_attempt(statement: str) -> None:
            if statement == "BEGIN IMMEDIATE":
                begun.append(statement)
            if len(begun) == 2 and other.in_transaction:
                other.rollback()

        shop.connection.set_trace_callback(let_go_at_the_second_attempt)
        example.current_shop.set(shop)
        with shop.transaction:
            run = await example.checkout.run(purchase)
    attempts = run.attempts(example.reserve_inventory)
    assert [str(attempt.error) for attempt in attempts] == ["database is locked", "None"]
    assert run.result.cents == 2933


async def test_a_layer_is_an_ordinary_function(example: Any, purchase: Any, shop: Any) -> None:
    example.current_shop.set(shop)
    assert await example.check_inventory("cd-001", 5) == example.Stock("cd-001", 5)
    with pytest.raises(example.UnknownCustomer, match="no customer has the numbers 00005 and 0001"):
        await example.validate_customer("00005", "0001")


def test_progress_rewrites_one_line_on_a_terminal(example: Any) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    progress = example.Progress(2_000, terminal)
    for served in range(1, 2_001):
        progress.advance(served)
    assert terminal.getvalue().startswith("\r")
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().splitlines()[-1].startswith("2,000 of 2,000 lines, ")

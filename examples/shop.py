"""The shop's SQLite database: stock, customers, orders and payments."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

from purchases import OrderId, Purchase

SCHEMA = """
CREATE TABLE stock (
    product  TEXT PRIMARY KEY,
    initial  INTEGER NOT NULL,
    on_hand  INTEGER NOT NULL CHECK (on_hand >= 0),
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    sold     INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0),
    CHECK (on_hand + reserved + sold = initial)
);
CREATE TABLE customers (
    id        TEXT PRIMARY KEY,
    sample_id TEXT NOT NULL
);
CREATE TABLE orders (
    source    TEXT NOT NULL,
    line      INTEGER NOT NULL,
    customer  TEXT NOT NULL REFERENCES customers (id),
    product   TEXT NOT NULL REFERENCES stock (product),
    cds       INTEGER NOT NULL CHECK (cds > 0),
    cents     INTEGER NOT NULL CHECK (cents >= 0),
    bought_on TEXT NOT NULL,
    PRIMARY KEY (source, line)
);
CREATE TABLE payments (
    source TEXT NOT NULL,
    line   INTEGER NOT NULL,
    cents  INTEGER NOT NULL,
    PRIMARY KEY (source, line),
    FOREIGN KEY (source, line) REFERENCES orders (source, line)
);
"""

# Each query counts what must not be there.
CHECKS = {
    "the database is sound": "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "no order without customer and product, no payment without order": "SELECT count(*) FROM pragma_foreign_key_check",
    "every order is paid in full": """
        SELECT count(*) FROM orders LEFT JOIN payments USING (source, line) WHERE orders.cents IS NOT payments.cents""",
    "nothing is left reserved": "SELECT count(*) FROM stock WHERE reserved <> 0",
    "the stock sold is what the orders hold": """
        SELECT count(*) FROM stock
        WHERE sold <> (SELECT coalesce(sum(cds), 0) FROM orders WHERE orders.product = stock.product)""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a customer buys: a row of the table `orders`."""

    order_id: OrderId
    customer_id: str
    product: str
    cds: int
    cents: int
    bought_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the database holds, added up."""

    orders: int
    customers: int
    cds: int
    cents: int
    initial: int
    on_hand: int


class Shop:
    """The database, over one connection. Changes are made between `begin` and the end of a `with shop.transaction:`."""

    def __init__(self, path: Path) -> None:
        """Creates the tables in a new file.

        Raises:
            sqlite3.Error: The file cannot be opened, or holds tables already.
        """
        # timeout=0: SQLite would wait for a lock inside a call and stop the event loop. `reserve_inventory` retries.
        # isolation_level=None: a transaction starts where `begin` says so, not before the first write by itself.
        self.connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self.connection.executescript(
            # WAL: others read while an order is written. NORMAL: no sync for each order, and the file stays sound.
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; {SCHEMA}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()

    @property
    def transaction(self) -> sqlite3.Connection:
        """Commits when its `with` block ends well, and rolls everything back when the block raises."""
        return self.connection

    def fill(self, stock: Mapping[str, int], purchases: Iterable[Purchase]) -> None:
        """Puts the stock on the shelves and makes the customers of these purchases known."""
        customers = [(purchase.customer_id, purchase.sample_id) for purchase in purchases]
        with self.transaction:
            self.begin()
            shelves = [(product, cds, cds) for product, cds in stock.items()]
            self.connection.executemany("INSERT INTO stock (product, initial, on_hand) VALUES (?, ?, ?)", shelves)
            self.connection.executemany("INSERT OR IGNORE INTO customers (id, sample_id) VALUES (?, ?)", customers)

    def begin(self) -> None:
        """Starts a transaction with the right to write.

        Raises:
            sqlite3.OperationalError: Another program is writing: 'database is locked'.
        """
        self.connection.execute("BEGIN IMMEDIATE")

    def on_hand(self, product: str) -> int:
        """Returns how many CDs of a product can be sold."""
        return self.count("SELECT coalesce(sum(on_hand), 0) FROM stock WHERE product = ?", product)

    def knows(self, customer_id: str, sample_id: str) -> bool:
        """Says whether both numbers are those of one customer."""
        query = "SELECT count(*) FROM customers WHERE id = ? AND sample_id = ?"
        return self.count(query, customer_id, sample_id) == 1

    def reserve(self, product: str, cds: int) -> bool:
        """Takes CDs off the shelf, and says whether there were enough of them."""
        statement = """
            UPDATE stock SET on_hand = on_hand - ?, reserved = reserved + ? WHERE product = ? AND on_hand >= ?"""
        return self.connection.execute(statement, (cds, cds, product, cds)).rowcount == 1

    def add_order(self, order: Order) -> None:
        """Writes an order."""
        row = (*order.order_id, order.customer_id, order.product, order.cds, order.cents, str(order.bought_on))
        self.connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def add_payment(self, order: Order) -> None:
        """Writes the payment of an order, and turns the CDs reserved for it into CDs sold."""
        self.connection.execute("INSERT INTO payments VALUES (?, ?, ?)", (*order.order_id, order.cents))
        statement = "UPDATE stock SET reserved = reserved - ?, sold = sold + ? WHERE product = ?"
        self.connection.execute(statement, (order.cds, order.cds, order.product))

    def order_ids(self) -> list[OrderId]:
        """Returns the id of every order, sorted."""
        rows = self.connection.execute("SELECT source, line FROM orders ORDER BY source, line")
        return [OrderId(*row) for row in rows]

    def totals(self) -> Totals:
        """Returns what was sold and what is left."""
        return Totals(
            orders=self.count("SELECT count(*) FROM orders"),
            customers=self.count("SELECT count(DISTINCT customer) FROM orders"),
            cds=self.count("SELECT coalesce(sum(cds), 0) FROM orders"),
            cents=self.count("SELECT coalesce(sum(cents), 0) FROM payments"),
            initial=self.count("SELECT coalesce(sum(initial), 0) FROM stock"),
            on_hand=self.count("SELECT coalesce(sum(on_hand), 0) FROM stock"),
        )

    def checks(self) -> dict[str, bool]:
        """Returns what should be true of the database, and whether it is."""
        return {claim: self.count(query) == 0 for claim, query in CHECKS.items()}

    def count(self, query: str, *values: str | int) -> int:
        """Returns the one number that a query selects."""
        row: tuple[int] = self.connection.execute(query, values).fetchone()
        return row[0]

"""The lines of a purchase file: each becomes a `Purchase`, or a `BrokenLine` that names column and value."""

import csv
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

COLUMNS: tuple[str, ...] = ("customer_id", "sample_id", "date", "cds", "amount_usd")
PRODUCTS = 200
FIRST_LINE = 2  # line 1 holds the names of the columns

Value = TypeVar("Value")


class OrderId(NamedTuple):
    """Which line of which file an order comes from. Rows repeat in the file, line numbers do not."""

    source: str
    line: int


class Refused(Exception):
    """An order the shop does not serve. The message says why; `reason` is the row of the totals that counts it."""

    reason: ClassVar[str] = "refused"


class BrokenLine(Refused):
    """A line that cannot be read as a purchase."""

    reason: ClassVar[str] = "broken line"

    def __init__(self, order_id: OrderId, message: str) -> None:
        super().__init__(message)
        self.order_id = order_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One line of a purchase file, checked: the inputs of a checkout. Money is a whole number of cents."""

    order_id: OrderId
    customer_id: str
    sample_id: str
    bought_on: date
    product: str
    cds: int
    cents: int


def read_purchases(path: Path, source: str, seed: int) -> list[Purchase | BrokenLine]:
    """Returns one entry for each line after the header, in the order of the file. A broken line keeps its place.

    Args:
        path: A CSV file with the columns of `COLUMNS`.
        source: The name that tells the order ids of this file from those of another.
        seed: Decides which product each line buys.

    Raises:
        OSError: The file cannot be read.
        ValueError: The first line does not hold the expected column names.
    """
    # Bytes that are no UTF-8 stay visible as `\xff`, so that only their own line is refused.
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        if file.readline().rstrip("\r\n") != ",".join(COLUMNS):
            raise ValueError(f"the first line of {path} must be {','.join(COLUMNS)}")
        return [entry(OrderId(source, number), line, seed) for number, line in enumerate(file, FIRST_LINE)]


def entry(order_id: OrderId, line: str, seed: int) -> Purchase | BrokenLine:
    """Returns the purchase on a line, or what is wrong with the line."""
    try:
        return parse(order_id, line, seed)
    except csv.Error as error:
        return BrokenLine(order_id, f"its quotes do not match: {error}")
    except ValueError as error:
        return BrokenLine(order_id, str(error))


def parse(order_id: OrderId, line: str, seed: int) -> Purchase:
    """Returns the purchase on a line.

    Raises:
        ValueError: A column is missing, or a value in it is not what it should be.
        csv.Error: The quotes do not match.
    """
    fields = fields_of(line)
    if len(fields) != len(COLUMNS):
        raise ValueError(f"it has {len(fields)} columns instead of {len(COLUMNS)}")
    row = dict(zip(COLUMNS, fields, strict=True))
    return Purchase(
        order_id=order_id,
        customer_id=column(row, "customer_id", customer_number),
        sample_id=column(row, "sample_id", sample_number),
        bought_on=column(row, "date", iso_date),
        product=product_of(order_id, seed),
        cds=column(row, "cds", whole_number),
        cents=column(row, "amount_usd", whole_cents),
    )


def fields_of(line: str) -> list[str]:
    """Returns the values on one line, read by itself: an open quote must not swallow the lines after it."""
    return [field for fields in csv.reader([line], strict=True) for field in fields]


def column(row: dict[str, str], name: str, convert: Callable[[str], Value]) -> Value:
    """Returns one converted value, or raises a `ValueError` that names the column, the value and what was expected."""
    try:
        return convert(row[name])
    except ValueError as error:
        raise ValueError(f"column {name}: {row[name]!a} is not {error}") from None


def require(pattern: str, text: str, expected: str) -> str:
    """Returns the text if all of it matches. The patterns are narrow: `int` and `Decimal` take '1_0' and ' 1'."""
    if re.fullmatch(pattern, text, re.ASCII) is None:
        raise ValueError(expected)
    return text


def customer_number(text: str) -> str:
    """Returns the customer's five digits as text, because the leading zeros belong to them."""
    return require(r"\d{5}", text, "a number of five digits")


def sample_number(text: str) -> str:
    """Returns the four digits of the customer's number in the sample, as text."""
    return require(r"\d{4}", text, "a number of four digits")


def whole_number(text: str) -> int:
    """Returns how many CDs are bought, from 1 to 999,999,999."""
    return int(require(r"[1-9]\d{0,8}", text, "a whole number from 1 to 999999999"))


def whole_cents(text: str) -> int:
    """Returns an amount in dollars as cents. It may be zero: the file holds purchases of 0.00."""
    return int(Decimal(require(r"\d{1,9}\.\d\d", text, "an amount such as 29.33")) * 100)


def iso_date(text: str) -> date:
    """Returns the day of the purchase."""
    expected = "a date such as 1997-01-18"
    try:
        return date.fromisoformat(require(r"\d{4}-\d\d-\d\d", text, expected))
    except ValueError:
        raise ValueError(expected) from None


def product_of(order_id: OrderId, seed: int) -> str:
    """Returns the product a line buys, which the file does not say: the seed and the line alone decide it."""
    return f"cd-{random.Random(f'{seed}/{order_id.source}/{order_id.line}').randrange(PRODUCTS):03}"


def initial_stock(purchases: list[Purchase], seed: int) -> dict[str, int]:
    """Returns how many CDs of each product the shop starts with: all that the purchases need, and 50 to 99 to spare."""
    stock = {
        f"cd-{number:03}": random.Random(f"{seed}/spare/{number}").randrange(50, 100) for number in range(PRODUCTS)
    }
    for purchase in purchases:
        stock[purchase.product] += purchase.cds
    return stock

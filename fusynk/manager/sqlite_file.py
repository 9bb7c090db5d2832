"""What the file of a `SqliteStore` holds."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeAlias
from zlib import crc32

import msgspec

from fusynk._durable.database import Kind
from fusynk.errors import DamagedStore, ForeignStore, NewerStore, StoreError, StoreLocked, StoreUnavailable
from fusynk.manager.store import StoredUnit

Row: TypeAlias = tuple[bytes, int, bytes, int]


def row_of(unit: StoredUnit) -> Row:
    """Return the row that keeps a unit. The checksum covers all of it.

    Args:
        unit: The unit's state.
    """
    kept = msgspec.structs.asdict(unit)
    # Half surrogate pairs are allowed in names; JSON would join two of them.
    name = kept.pop("name").encode("utf-8", "surrogatepass")
    version = kept.pop("version")
    state = json.dumps(kept, allow_nan=False).encode()
    return name, version, state, _checksum(name, version, state)


def unit_of(row: Sequence[object]) -> StoredUnit:
    """Return the unit that a row keeps.

    Args:
        row: The row.

    Raises:
        ValueError: It is damaged.
    """
    match row:
        case (bytes() as name, int() as version, bytes() as state, int() as checksum):
            pass
        case _:
            raise ValueError("a row holds other types")
    if checksum != _checksum(name, version, state):
        raise ValueError("a row has a wrong checksum")
    named = {"name": name.decode("utf-8", "surrogatepass"), "version": version}
    try:
        return msgspec.convert(json.loads(state) | named, StoredUnit)
    except (TypeError, RecursionError, msgspec.ValidationError) as error:
        raise ValueError("a row holds no state") from error


def _checksum(name: bytes, version: int, state: bytes) -> int:
    return crc32(state, crc32(b"%d" % version, crc32(name)))


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute("SELECT name, version, state, checksum FROM units"):
        try:
            _ = unit_of(row)
        except ValueError as error:
            yield str(error)


STORE = Kind(
    noun="store",
    application=0x6675736B,  # "fusk"
    format=1,
    schema=(
        (
            "CREATE TABLE units (name BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL, state BLOB NOT NULL, "
            "checksum INTEGER NOT NULL)"
        ),
    ),
    problems=_problems,
    error=StoreError,
    damaged=DamagedStore,
    foreign=ForeignStore,
    newer=NewerStore,
    busy=StoreLocked,
    unavailable=StoreUnavailable,
)

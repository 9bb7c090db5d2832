"""The file of a `SqliteStore`: what it holds, how it is made and checked, and what it is told when it is refused."""

import errno
import json
import shutil
import sqlite3
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from struct import unpack
from tempfile import TemporaryDirectory
from typing import Literal, NoReturn, TypeAlias
from zlib import crc32

import msgspec

from fusynk._core.saving import write_atomically
from fusynk.errors import DamagedStore, ForeignStore, NewerStore, StoreError, StoreLocked, StoreUnavailable
from fusynk.manager.store import StoredUnit

APPLICATION_ID = 0x6675736B  # "fusk"
FORMAT = 1
_MAGIC = b"SQLite format 3\0"
_SCHEMA = (
    "CREATE TABLE units (name BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL, state BLOB NOT NULL, "
    "checksum INTEGER NOT NULL)"
)
# What SQLite says of a file, and what of the place it lies in.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
_REFUSED = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS),
}

Row: TypeAlias = tuple[bytes, int, bytes, int]
Doing: TypeAlias = Literal["opened", "read", "written"]


# Rows


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


# The file


def create(path: Path) -> None:
    """Make the file of an empty store, whole or not at all.

    Args:
        path: Where nothing is yet.

    Raises:
        StoreError: It cannot be made.
    """
    for stray in _beside(path, "-wal", "-journal"):
        problem = f"{stray.name!r} lies there without it; restore the file, or remove what is left of it"
        raise DamagedStore(f"The store {str(path)!r} is gone: {problem}.", path=str(path))
    with named_errors(path, "opened"), TemporaryDirectory(prefix="fusynk-") as folder:
        draft = Path(folder) / "store"
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"""
                BEGIN;
                PRAGMA application_id={APPLICATION_ID};
                PRAGMA user_version={FORMAT};
                {_SCHEMA};
                COMMIT;
            """)
        write_atomically(str(path), draft.read_bytes())


def check_header(path: Path) -> None:
    """Refuse a file that is no store, or a later one. It is not changed, and need not be owned.

    Args:
        path: The file.

    Raises:
        StoreError: It is refused.
    """
    _check_kind(path)
    application, version = _numbers(path)
    if application != APPLICATION_ID:
        message = f"{str(path)!r} is no store of fusynk; give the path of one, or of a file that does not exist yet."
        raise ForeignStore(message, path=str(path))
    if version > FORMAT:
        known = f"has format {version}, and this fusynk knows formats up to {FORMAT}; upgrade it, or give another path"
        raise NewerStore(f"The store {str(path)!r} {known}.", path=str(path))
    if version < FORMAT:
        raise _damaged(path, f"{version} is no format")


def check(path: Path) -> None:
    """Refuse a file that is damaged. It is not changed.

    SQLite finishes what a dead process has left undone as soon as it looks. So it looks at a copy, lest it spoil a file
    that is then refused.

    Args:
        path: The file, of which `check_header` thinks well. It must be owned.

    Raises:
        StoreError: It is refused.
    """
    with named_errors(path, "read"):
        for stray in _beside(path, "-journal"):  # SQLite would write it into the file
            raise _damaged(path, f"{stray.name!r} beside it belongs to another file")
        with TemporaryDirectory(prefix="fusynk-") as folder:
            copy = Path(folder) / "store"
            shutil.copyfile(path, copy)
            for stray in _beside(path, "-wal"):
                shutil.copyfile(stray, f"{copy}-wal")
            problem = _problem_of(copy)
    if problem is not None:
        raise _damaged(path, problem)


def _problem_of(copy: Path) -> str | None:
    """Return what is wrong with a file, or `None` if nothing is."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        try:
            return next(_problems(connection), None)
        except sqlite3.Error as error:
            if _kind(error) in _REFUSED and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHORT_READ:
                raise
            return str(error)
        except UnicodeDecodeError:  # what it would say of the damage is damaged too
            return "its tables cannot be read"


def _beside(path: Path, *suffixes: str) -> list[Path]:
    return [stray for suffix in suffixes if (stray := Path(f"{path}{suffix}")).exists()]


def _check_kind(path: Path) -> None:
    with named_errors(path, "opened"):
        found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        _refuse(path, "opened", IsADirectoryError(errno.EISDIR, "it is a folder"))
    if not stat.S_ISREG(found.st_mode):
        _refuse(path, "opened", OSError(errno.EINVAL, "it is no regular file"))
    if found.st_size == 0:
        raise _damaged(path, "it is empty")


def _numbers(path: Path) -> tuple[int, int]:
    """Return the numbers of the application and of the format; zeros if the file is not one of SQLite.

    SQLite opens it, since to open and close a file that somebody uses with SQLite in this process would drop their
    locks. `immutable` has it read the bytes that are there and nothing else.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        if _kind(error) in _REFUSED:
            _refuse(path, "read", error)
        return _numbers_in_header(path)
    except UnicodeDecodeError:
        return _numbers_in_header(path)
    return application, version


def _numbers_in_header(path: Path) -> tuple[int, int]:
    """Return them as they stand in the file, which may be torn where what is written beside it makes it whole."""
    with named_errors(path, "read"), path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):  # noqa: PLR2004 - the size of a header
        return 0, 0
    version, application = unpack(">i4xi", header[60:72])
    return application, version


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with a file that says that it is a store."""
    for (found,) in connection.execute("PRAGMA integrity_check(1)"):
        if found != "ok":
            yield str(found)
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if schema != [(_SCHEMA,)]:
        yield "it has other tables"
    for row in connection.execute("SELECT name, version, state, checksum FROM units"):
        try:
            _ = unit_of(row)
        except ValueError as error:
            yield str(error)


# Errors


@contextmanager
def named_errors(path: Path, doing: Doing) -> Generator[None]:
    """Give what SQLite and the system raise in a `with` block the names of the library.

    Args:
        path: The file.
        doing: What is done to it.

    Raises:
        StoreError: Something was raised.
    """
    try:
        yield
    except sqlite3.Error as error:
        kind = _kind(error)
        if kind in _DAMAGED:
            raise _damaged(path, str(error)) from error
        if kind in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            message = f"The store {str(path)!r} is in use by another program; close it there."
            raise StoreLocked(message, path=str(path)) from error
        if kind in _REFUSED:
            _refuse(path, doing, error)
        raise StoreError(f"The store {str(path)!r} cannot be {doing}: {error}.", path=str(path)) from error
    except OSError as error:
        _refuse(path, doing, error)


def _kind(error: sqlite3.Error) -> int | None:
    """Return the code of an error without what SQLite adds to it; errors of Python's own have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _may_be_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # a folder around it may not be entered
        return True


def _refuse(path: Path, doing: Doing, error: OSError | sqlite3.Error) -> NoReturn:
    why = error.strerror if isinstance(error, OSError) else str(error)
    advice = "try again when that is mended"
    if isinstance(error, IsADirectoryError):
        advice = "give the path of a file in it"
    elif not _may_be_there(path.parent):
        advice = "make its folder first"
    message = f"The store {str(path)!r} cannot be {doing}: {why}; {advice}."
    raise StoreUnavailable(message, path=str(path)) from error


def _damaged(path: Path, problem: str) -> DamagedStore:
    line = " ".join(problem.split())
    shown = line if line.isprintable() else ascii(line)  # SQLite quotes what it found
    advice = "It was left as it is; restore a copy, or move it away to begin anew"
    return DamagedStore(f"The store {str(path)!r} is damaged: {shown}. {advice}.", path=str(path))

"""Files of SQLite: how they are made and checked, and what is told when one is refused."""

import errno
import re
import shutil
import sqlite3
import stat
import urllib.parse  # noqa: F401 # pyright: ignore[reportUnusedImport] - Path.as_uri loads it when it may be too late
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from tempfile import TemporaryDirectory
from typing import Literal, NoReturn, Protocol, TypeAlias

from fusynk._core.saving import write_atomically

_MAGIC = b"SQLite format 3\0"
# What SQLite says of a file, and what of the place it lies in.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PROTOCOL),
}

_CODE = re.compile(r"error code=(\d+)")

Doing: TypeAlias = Literal["opened", "read", "written"]


class Refusal(Protocol):
    """An error about a file."""

    def __call__(self, message: str, /, *, path: str) -> Exception:
        """Make it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        noun: What errors call it.
        application: The number by which SQLite's files tell whose they are.
        format: The version of what is in it.
        schema: The statements that make its tables, as SQLite keeps them.
        problems: Goes through what is in a sound file of SQLite and yields what is wrong with it.
        error: What is raised when nothing more is known.
        damaged: What is raised when it is torn or was changed.
        foreign: What is raised when it is something else.
        newer: What is raised when it was written by a later version.
        busy: What is raised when another program is in the way.
        unavailable: What is raised when the system refuses.
    """

    noun: str
    application: int
    format: int
    schema: tuple[str, ...]
    problems: Callable[[sqlite3.Connection], Iterator[str]]
    error: Refusal
    damaged: Refusal
    foreign: Refusal
    newer: Refusal
    busy: Refusal
    unavailable: Refusal


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A file of a kind, which need not be there.

    Attributes:
        path: The file.
        kind: Its kind.
    """

    path: Path
    kind: Kind

    def create(self) -> None:
        """Make an empty one where nothing is yet, whole or not at all."""
        for stray in self._beside("-wal", "-journal"):
            problem = f"{stray.name!r} lies there without it; restore the file, or remove what is left of it"
            raise self.kind.damaged(f"{self._named} is gone: {problem}.", path=str(self.path))
        with self.named_errors("opened"), TemporaryDirectory(prefix="fusynk-") as folder:
            draft = Path(folder) / "draft"
            with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                # What is written goes into the file at once; of the checkpoint that a close makes, no error is told.
                connection.executescript(f"""
                    BEGIN;
                    PRAGMA application_id={self.kind.application};
                    PRAGMA user_version={self.kind.format};
                    {";".join(self.kind.schema)};
                    COMMIT;
                """)
                connection.execute("PRAGMA journal_mode=WAL")
            write_atomically(str(self.path), draft.read_bytes())

    def check_header(self) -> None:
        """Refuse a file of another kind, or of a later version. It is not changed, and need not be owned."""
        self._check_kind()
        application, version = self._numbers()
        known = self.kind.format
        if application != self.kind.application:
            advice = "give the path of one, or of a file that does not exist yet"
            raise self.kind.foreign(
                f"{str(self.path)!r} is no {self.kind.noun} of fusynk; {advice}.", path=str(self.path)
            )
        if version > known:
            problem = (
                f"has format {version}, and this fusynk knows formats up to {known}; upgrade it, or give another path"
            )
            raise self.kind.newer(f"{self._named} {problem}.", path=str(self.path))
        if version < known:
            raise self.damaged(f"{version} is no format")

    def check(self) -> None:
        """Refuse a file that is damaged. It is not changed. `check_header` must think well of it, and nobody use it.

        SQLite finishes what a dead process has left undone as soon as it looks. So it looks at a copy, lest it spoil a
        file that is then refused.
        """
        with self.named_errors("read"):
            for stray in self._beside("-journal"):  # SQLite would write it into the file
                raise self.damaged(f"{stray.name!r} beside it belongs to another file")
            with TemporaryDirectory(prefix="fusynk-") as folder:
                copy = Path(folder) / "copy"
                shutil.copyfile(self.path, copy)
                for stray in self._beside("-wal"):
                    shutil.copyfile(stray, f"{copy}-wal")
                problem = self._problem_of(copy)
        if problem is not None:
            raise self.damaged(problem)

    @contextmanager
    def named_errors(self, doing: Doing) -> Generator[None]:
        """Give what SQLite and the system raise in a `with` block the names of the library.

        Args:
            doing: What is done to the file.
        """
        try:
            yield
        except sqlite3.Error as error:
            code = _code_of(error)
            if code in _DAMAGED:
                raise self.damaged(str(error)) from error
            if code in _BUSY:
                raise self.kind.busy(
                    f"{self._named} is in use by another program; close it there.", path=str(self.path)
                ) from error
            if code in _REFUSED:
                self._refuse(doing, error)
            raise self.kind.error(f"{self._named} cannot be {doing}: {error}.", path=str(self.path)) from error
        except OSError as error:
            self._refuse(doing, error)

    def damaged(self, problem: str) -> Exception:
        """Return the error of a damaged file.

        Args:
            problem: What is wrong with it.
        """
        line = " ".join(problem.split())
        shown = line if line.isprintable() else ascii(line)  # SQLite quotes what it found
        advice = "It was left as it is; restore a copy, or move it away to begin anew"
        return self.kind.damaged(f"{self._named} is damaged: {shown}. {advice}.", path=str(self.path))

    @property
    def _named(self) -> str:
        return f"The {self.kind.noun} {str(self.path)!r}"

    def _problem_of(self, copy: Path) -> str | None:
        """Return what is wrong with a file, or `None` if nothing is."""
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            try:
                return next(self._problems(connection), None)
            except sqlite3.Error as error:
                if _code_of(error) in _REFUSED and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHORT_READ:
                    raise
                return str(error)
            except UnicodeDecodeError:  # what it would say of the damage is damaged too
                return "its tables cannot be read"

    def _problems(self, connection: sqlite3.Connection) -> Iterator[str]:
        for (found,) in connection.execute("PRAGMA integrity_check(1)"):
            if found != "ok":
                _check_readable(str(found))
                yield str(found)
        statement = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        if [sql for (sql,) in connection.execute(statement)] != list(self.kind.schema):
            yield "it has other tables"
        yield from self.kind.problems(connection)

    def _beside(self, *suffixes: str) -> list[Path]:
        return [stray for suffix in suffixes if (stray := Path(f"{self.path}{suffix}")).exists()]

    def _check_kind(self) -> None:
        with self.named_errors("opened"):
            found = self.path.stat()
        if stat.S_ISDIR(found.st_mode):
            self._refuse("opened", IsADirectoryError(errno.EISDIR, "it is a folder"))
        if not stat.S_ISREG(found.st_mode):
            self._refuse("opened", OSError(errno.EINVAL, "it is no regular file"))
        if found.st_size == 0:
            raise self.damaged("it is empty")

    def _numbers(self) -> tuple[int, int]:
        """Return the numbers of the application and of the format; zeros if the file is not one of SQLite.

        SQLite opens it, since to open and close a file that somebody uses with SQLite in this process would drop their
        locks. `immutable` has it read the bytes that are there and nothing else.
        """
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?immutable=1", uri=True)) as connection:
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            if _code_of(error) in _REFUSED:
                self._refuse("read", error)
            return self._numbers_in_header()
        except UnicodeDecodeError:
            return self._numbers_in_header()
        return application, version

    def _numbers_in_header(self) -> tuple[int, int]:
        """Return them as they stand in the file, which may be torn where what is written beside it makes it whole."""
        with self.named_errors("read"), self.path.open("rb") as file:
            header = file.read(100)
        if len(header) < 100 or not header.startswith(_MAGIC):  # noqa: PLR2004 - the size of a header
            return 0, 0
        version, application = unpack(">i4xi", header[60:72])
        return application, version

    def _refuse(self, doing: Doing, error: OSError | sqlite3.Error) -> NoReturn:
        why = error.strerror if isinstance(error, OSError) else str(error)
        advice = "try again when that is mended"
        if isinstance(error, IsADirectoryError):
            advice = "give the path of a file in it"
        elif not _may_be_there(self.path.parent):
            advice = "make its folder first"
        raise self.kind.unavailable(
            f"{self._named} cannot be {doing}: {why}; {advice}.", path=str(self.path)
        ) from error


def _may_be_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # a folder around it may not be entered
        return True


def _check_readable(problem: str) -> None:
    """Raise what kept SQLite from looking, which is no damage."""
    code = _CODE.search(problem)
    if code is not None and int(code[1]) != sqlite3.SQLITE_IOERR_SHORT_READ and int(code[1]) & 0xFF in _REFUSED:
        raise OSError(errno.EIO, problem)


def _code_of(error: sqlite3.Error) -> int | None:
    """Return the code of an error without what SQLite adds to it; errors of Python's own have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def is_busy(error: BaseException | None) -> bool:
    """Tell whether an error says that another program is in the way.

    Args:
        error: The error.
    """
    return isinstance(error, sqlite3.Error) and _code_of(error) in _BUSY


def leak(connection: sqlite3.Connection) -> None:
    """Keep a connection open for ever in a copy of this process; to close it there would end what its parent writes.

    Args:
        connection: The copied connection.
    """
    from ctypes import py_object, pythonapi  # noqa: PLC0415 - few processes are copied while a file is open

    pythonapi.Py_IncRef(py_object(connection))  # so that it is not closed even when the process ends

"""What a journal costs, beside the least that a durable one could: encode, checksum, writer thread, group commit.

Rates are of wall time, because most of it is waiting for a disk and for a thread. How often it takes the time of the
floor is told of CPU time, which a neighbour's load disturbs less; with "NORMAL" nobody waits for the disk, and both are
nearly the same. The contenders take turns.
"""

import gc
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from time import perf_counter, process_time
from typing import Literal, NamedTuple, Protocol
from zlib import crc32

import msgspec

from benchmarks.figures import Figure, Target
from benchmarks.measure import ratios, rotated
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from fusynk._core.codec import Codec
from fusynk._core.envelope import Record, Seal
from fusynk._core.journalled import RunStart
from fusynk.errors import JournalError
from fusynk.journals.sqlite import SqliteJournal

Synchronous = Literal["FULL", "NORMAL"]
WIDTH = 100  # records that are appended before anybody waits
SINGLE = {"FULL": 20, "NORMAL": 2}  # one commit each is so slow that only so small a part of the records is measured
TARGETS = {
    "NORMAL, times the floor": Target("at most", 2),
    "FULL, rate in shares of the floor's": Target("at least", 0.3),
    "NORMAL, rate in times of a commit each": Target("at least", 4),
    "FULL, rate in times of a commit each": Target("at least", 4),
    "opening a run that has ended, seconds": Target("below", 0.5),
    "an envelope, closed": Target("below", 5),
}


@dataclass(frozen=True, slots=True)
class Price:
    """What the records hold."""

    product: str
    cents: int


class Log(Protocol):
    """A contender."""

    def append(self, number: int) -> None:
        """Have a record written."""
        ...

    def wait(self, count: int) -> None:
        """Wait until so many records are durable."""
        ...

    def close(self) -> None:
        """Give it free."""
        ...


class Durable:
    """Counts what is durable, and lets the other thread wait for it."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = Condition()

    def add(self, count: int) -> None:
        """Note that more is durable."""
        with self._changed:
            self._count += count
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait until so much is durable."""
        with self._changed:
            self._changed.wait_for(lambda: self._count >= count)


class Floor:
    """The floor: no plan, no owners, no checks."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={synchronous}")
        self._connection.execute("CREATE TABLE records (place INTEGER PRIMARY KEY, step TEXT, sum INTEGER, body BLOB)")
        self._encode = msgspec.json.Encoder().encode
        self._queue: SimpleQueue[tuple[str, int, bytes] | None] = SimpleQueue()
        self._durable = Durable()
        self.wait = self._durable.wait
        self._thread = Thread(target=self._write)
        self._thread.start()

    def append(self, number: int) -> None:
        """Encode it, and give it to the thread."""
        body = self._encode(Price("book", number))
        self._queue.put((f"step {number}", crc32(body), body))

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _write(self) -> None:
        item = self._queue.get()
        while item is not None:
            group: list[tuple[str, int, bytes]] = []
            try:
                while item is not None:
                    group.append(item)
                    item = self._queue.get_nowait()
            except Empty:
                pass
            self._commit(group)
            item = self._queue.get() if item is not None else None

    def _commit(self, group: Sequence[tuple[str, int, bytes]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO records (step, sum, body) VALUES (?, ?, ?)", group)
        self._connection.execute("COMMIT")
        self._durable.add(len(group))


class Single:
    """A journal that commits each record by itself, where it is appended: the same work on a record, and no thread."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={synchronous}")
        self._connection.execute("CREATE TABLE records (place INTEGER PRIMARY KEY, envelope BLOB NOT NULL)")
        self._encode = Codec().of(Price).encode
        self._close = Seal("run", "9f3c").close

    def append(self, number: int) -> None:
        """Write it."""
        envelope = self._close(number, priced(number, self._encode))
        self._connection.execute("INSERT INTO records (place, envelope) VALUES (?, ?)", (number, envelope))

    def wait(self, count: int) -> None:
        """It is durable already."""

    def close(self) -> None:
        """Give it free."""
        self._connection.close()


class Journalled:
    """The journal of fusynk."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._journal = SqliteJournal(path, synchronous=synchronous)
        self._durable = Durable()
        self._records: list[Record] = []
        self._run = self._journal.open_run("run", RunStart(fingerprint="9f3c", inputs=b"{}"), on_commit=self._note)
        self._encode = Codec().of(Price).encode

    def append(self, number: int) -> None:
        """Encode it, and have it written with the rest of its layer."""
        self._records.append(priced(number, self._encode))

    def wait(self, count: int) -> None:
        """Wait until so many records are durable."""
        _ = self._run.append_all(self._records)
        self._records = []
        self._durable.wait(count)

    def close(self) -> None:
        """End the run."""
        self._run.end("succeeded")
        self._journal.close()

    def _note(self, records: Sequence[Record], error: JournalError | None) -> None:
        assert error is None
        self._durable.add(len(records))


def priced(number: int, encode: Callable[..., bytes]) -> Record:
    """The record of a step that returned a price."""
    step = f"step {number}"
    payload = encode(Price("book", number), step=step)
    return Record(step=step, attempt=1, kind="succeeded", payload=payload, started=1.0, ended=2.0)


class Seconds(NamedTuple):
    """What one record took."""

    wall: float
    cpu: float


def seconds_each(log: Log, count: int) -> Seconds:
    """Seconds for each record of so many, appended in layers, each of which waits for the one before."""
    gc.collect()
    started, cpu = perf_counter(), process_time()
    for first in range(0, count, WIDTH):
        last = min(first + WIDTH, count)
        for number in range(first, last):
            log.append(number)
        log.wait(last)
    return Seconds((perf_counter() - started) / count, (process_time() - cpu) / count)


CONTENDERS: dict[str, Callable[[Path, Synchronous], Log]] = {"floor": Floor, "single": Single, "journal": Journalled}


def measure_rates(settings: Settings, synchronous: Synchronous) -> dict[str, list[Seconds]]:
    """Seconds for each record, by contender."""
    samples: dict[str, list[Seconds]] = {name: [] for name in CONTENDERS}
    for turn in range(settings.rounds):
        for name in rotated(list(CONTENDERS), turn):
            count = max(1, settings.steps // SINGLE[synchronous]) if name == "single" else settings.steps
            with TemporaryDirectory(prefix="fusynk-") as folder:
                log = CONTENDERS[name](Path(folder) / "log.db", synchronous)
                samples[name].append(seconds_each(log, count))
                log.close()
    return samples


def _ignore(_records: Sequence[Record], _error: JournalError | None) -> None:
    """Hear of commits that do not come."""


def measure_opening(settings: Settings) -> list[float]:
    """Wall seconds to open a journal and a run in it that has ended, with all checks."""
    samples: list[float] = []
    with TemporaryDirectory(prefix="fusynk-") as folder:
        path = Path(folder) / "runs.db"
        log = Journalled(path, "NORMAL")
        _ = seconds_each(log, settings.steps)
        log.close()
        decode = Codec().of(Price).decode
        for _ in range(settings.rounds):
            started = perf_counter()
            journal = SqliteJournal(path)
            run = journal.open_run("run", on_commit=_ignore)
            prices = [decode(record.payload) for record in run.records]
            samples.append(perf_counter() - started)
            assert len(prices) == settings.steps
            journal.close()
    return samples


def measure_envelopes(settings: Settings) -> dict[str, list[float]]:
    """Microseconds to encode an artifact, and to close and open an envelope."""
    seal, coded = Seal("order-42", "9f3c" * 8), Codec().of(Price)
    record = Record(step="price", attempt=1, kind="succeeded", payload=b'{"product":"book","cents":3}')
    envelope, price = seal.close(1, record), Price("book", 3)
    calls: dict[str, Callable[[], object]] = {
        "an artifact, encoded and checked": partial(coded.encode, price, step="price"),
        "an envelope, closed": partial(seal.close, 1, record),
        "an envelope, opened": partial(seal.open, 1, envelope),
    }
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(settings.rounds):
        for name, call in calls.items():
            started = perf_counter()
            for _ in range(settings.steps):
                _ = call()
            samples[name].append((perf_counter() - started) / settings.steps * MICRO)
    return samples


def measure_journal(settings: Settings) -> list[Figure]:
    """All figures; no event loop is needed for them."""
    figures: list[Figure] = []
    for synchronous in ("NORMAL", "FULL"):
        samples = measure_rates(settings, synchronous)
        wall = {name: [one.wall for one in its] for name, its in samples.items()}
        cpu = {name: [one.cpu for one in its] for name, its in samples.items()}
        floor, journal, single = wall["floor"], wall["journal"], wall["single"]
        others = f"the floor takes {min(floor) * MICRO:.1f} us, one commit each {min(single) * MICRO:.0f}"
        note = f"(layers of {WIDTH}; {others})"
        figures += [
            _figure(f"{synchronous}, a record", "us", [seconds * MICRO for seconds in journal], note),
            _figure(f"{synchronous}, times the floor", "x", ratios(cpu["journal"], cpu["floor"])),
            _figure(f"{synchronous}, rate in shares of the floor's", "x", ratios(floor, journal)),
            _figure(f"{synchronous}, rate in times of a commit each", "x", ratios(single, journal)),
        ]
    figures.append(_figure("opening a run that has ended, seconds", "s", measure_opening(settings)))
    return figures + [_figure(name, "us", samples) for name, samples in measure_envelopes(settings).items()]


def _figure(name: str, unit: str, samples: Sequence[float], note: str = "") -> Figure:
    return Figure(benchmark="journal", name=name, unit=unit, samples=samples, target=TARGETS.get(name), note=note)

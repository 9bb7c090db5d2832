"""What every journal promises, and what one in a file promises beside it."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk import protocols
from fusynk._core.envelope import Record, RecordKind
from fusynk._core.journalled import RunStart
from fusynk._runtime.backend import loop_poster
from fusynk.errors import InvalidOption, JournalClosed, RunLocked, UnknownRun
from fusynk.journals.memory import MemoryJournal
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import START, Told, filled, nobody, record, written

AnyJournal = MemoryJournal | SqliteJournal


@pytest.fixture(params=["memory", "FULL", "NORMAL"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyJournal]:
    kept: AnyJournal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "runs.db", synchronous=request.param)
    )
    yield kept
    kept.close()


def test_a_journal_has_the_shape_of_the_protocol(journal: AnyJournal) -> None:
    kept: protocols.Journal = journal
    run: protocols.OpenRun = kept.open_run("a", START, on_commit=nobody)

    assert run.run_id == "a"


def test_what_is_recorded_comes_back_in_order(journal: AnyJournal) -> None:
    records = filled(journal, "order-42", 1000)

    assert list(journal.history("order-42")) == records
    run = journal.open_run("order-42", on_commit=nobody)
    assert (list(run.records), run.start, run.state.epoch, run.state.status) == (records, START, 2, "succeeded")


def test_runs_are_told_oldest_first_with_their_ends(journal: AnyJournal) -> None:
    filled(journal, "b", 1)
    journal.open_run("a\nb\ud800'", START, on_commit=nobody, owner="me \ud800")
    filled(journal, "0", 1)

    told = [(run.run_id, run.status, run.owner.startswith("OS process")) for run in journal.runs()]
    assert told == [("b", "succeeded", True), ("a\nb\ud800'", "open", False), ("0", "succeeded", True)]
    assert [run.ended is None for run in journal.runs()] == [False, True, False]
    assert journal.runs()[1].owner == "me \ud800"
    assert journal.runs()[0].created == START.created


def test_a_run_that_is_not_there_is_told(journal: AnyJournal) -> None:
    calls: list[Callable[[], object]] = [
        lambda: journal.history("x"),
        lambda: journal.delete("x"),
        lambda: journal.open_run("x", on_commit=nobody),
    ]
    for call in calls:
        with pytest.raises(UnknownRun, match=r"has no run 'x'; journal\.runs\(\) tells which it has") as caught:
            call()
        assert caught.value.run_id == "x"


def test_what_a_run_began_with_is_kept_whatever_it_is_opened_with(journal: AnyJournal) -> None:
    journal.open_run("a", START, on_commit=nobody).release()

    run = journal.open_run("a", RunStart(fingerprint="other", inputs=b"other"), on_commit=nobody)

    assert run.start == START


def test_the_first_outcome_of_a_step_wins(journal: AnyJournal) -> None:
    told = Told()
    run = journal.open_run("a", START, on_commit=told)
    tried = Record(step="s", attempt=1, kind="attempted", payload=b"e")
    assert written(run, told, tried, tried, record("s", 3)) is None

    kinds: list[RecordKind] = ["succeeded", "failed", "skipped", "recovered"]
    for kind in kinds:
        assert not run.append(Record(step="s", attempt=2, kind=kind, payload=b"4"))
    run.release()

    again = journal.open_run("a", on_commit=told)
    assert [one.payload for one in again.records] == [b"e", b"e", b"3"]
    assert not again.append(record("s", 5))
    assert written(again, told, record("t", 6)) is None


def test_a_run_has_one_owner(journal: AnyJournal) -> None:
    run = journal.open_run("a", START, on_commit=nobody, owner="the first")

    with pytest.raises(RunLocked, match="'a' is in the hands of the first; wait until") as caught:
        journal.open_run("a", START, on_commit=nobody)
    assert caught.value.owner == "the first"
    with pytest.raises(RunLocked):
        journal.delete("a")

    run.release()
    run.release()
    assert journal.open_run("a", START, on_commit=nobody).state.epoch == 2


def test_what_is_released_or_closed_takes_nothing_more(journal: AnyJournal) -> None:
    run, other = (journal.open_run(name, START, on_commit=nobody) for name in "ab")
    run.release()
    journal.close()

    for one in (run, other):
        with pytest.raises(JournalClosed, match="is not open here; open it anew"):
            one.append(record("s"))
        with pytest.raises(JournalClosed):
            one.end("failed")
        one.release()
    journal.close()
    assert len(journal.runs()) == 2


def test_a_run_that_has_ended_takes_nothing_until_it_goes_on(journal: AnyJournal) -> None:
    told = Told()
    run = journal.open_run("a", START, on_commit=told)
    assert written(run, told, record("s")) is None
    run.end("failed")

    with pytest.raises(JournalClosed, match=r"'a' has ended: it failed; call end\('open'\) to go on"):
        run.append(record("t"))

    run.end("open")
    assert written(run, told, record("t")) is None
    assert [(one.status, one.ended) for one in journal.runs()] == [("open", None)]
    assert len(journal.history("a")) == 2


def test_a_run_that_is_deleted_leaves_nothing_and_its_id_is_free(journal: AnyJournal) -> None:
    filled(journal, "a", 20)
    kept = filled(journal, "b", 20)
    journal.delete("a")

    assert [run.run_id for run in journal.runs()] == ["b"]
    assert list(journal.history("b")) == kept
    run = journal.open_run("a", START, on_commit=nobody)
    assert (run.records, run.state.epoch) == ((), 1)


def test_many_runs_are_written_at_once_from_many_threads(journal: AnyJournal) -> None:
    def write(name: str) -> None:
        filled(journal, name, 300)

    threads = [threading.Thread(target=write, args=[f"run {number}"]) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    for number in range(8):
        assert [one.step for one in journal.history(f"run {number}")] == [f"step {step}" for step in range(300)]


STEPS = st.sampled_from("abcdef")
ACTIONS = st.lists(
    st.tuples(st.just("append"), st.sampled_from("xyz"), STEPS, st.booleans())
    | st.tuples(st.sampled_from(["open", "release", "end", "delete", "close"]), st.sampled_from("xyz")),
    max_size=40,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None)
@given(actions=ACTIONS)
def test_a_journal_does_what_a_model_of_it_does(  # noqa: C901, PLR0912 - a case for each action
    tmp_path_factory: pytest.TempPathFactory, kind: str, actions: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    journal: AnyJournal = (
        MemoryJournal() if kind == "memory" else SqliteJournal(folder / "runs.db", synchronous="NORMAL")
    )
    model: dict[str, list[tuple[str, str]]] = {}
    ended: set[str] = set()
    opened: dict[str, Any] = {}
    for action, name, *rest in actions:
        match action, rest:
            case "append", [step, is_final]:
                if name not in opened or name in ended:
                    continue
                outcome: Any = "succeeded" if is_final else "attempted"
                wins = not is_final or (step, "succeeded") not in model[name]
                assert opened[name].append(Record(step=step, attempt=1, kind=outcome, payload=b"")) is wins
                if wins:
                    model[name].append((step, outcome))
            case "open", _:
                if name in opened:
                    with pytest.raises(RunLocked):
                        journal.open_run(name, START, on_commit=nobody)
                    continue
                opened[name] = journal.open_run(name, START, on_commit=nobody)
                found = [(one.step, one.kind) for one in opened[name].records]
                assert found == model.setdefault(name, [])
            case "release", _:
                if name in opened:
                    opened.pop(name).release()
            case "end", _:
                if name in opened:
                    opened[name].end("failed")
                    ended.add(name)
            case "delete", _:
                with pytest.raises((RunLocked, UnknownRun)) if name in opened or name not in model else _fine():
                    journal.delete(name)
                    del model[name]
                    ended.discard(name)
            case _:
                journal.close()
                opened.clear()
    journal.close()
    assert {run.run_id: run.status for run in journal.runs()} == {
        name: "failed" if name in ended else "open" for name in model
    }
    for name, steps in model.items():
        assert [(one.step, one.kind) for one in journal.history(name)] == steps
    journal.close()


def _fine() -> Any:
    return pytest.MonkeyPatch.context()


# Loops


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_loop_is_woken_once_for_a_group(tmp_path: Path, kind: str) -> None:
    journal: AnyJournal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")
    posts, told, loop, done = [0], list[str](), threading.get_ident(), anyio.Event()
    post = loop_poster()

    def posted(call: Callable[[], object]) -> object:
        posts[0] += 1
        return post(call)

    def note(records: Any, error: Any) -> None:
        assert error is None
        assert threading.get_ident() == loop
        told.extend(one.step for one in records)
        if len(told) == 500:
            done.set()

    run = journal.open_run("a", START, on_commit=note, post=posted)
    assert not run.append_all([record(str(number)) for number in range(500)])
    assert told == []
    with anyio.fail_after(30):
        await done.wait()
    run.release()
    journal.close()

    assert told == [str(number) for number in range(500)]
    assert posts[0] < 100


def test_a_loop_that_has_ended_stops_nobody(tmp_path: Path) -> None:
    posters: list[Any] = []

    async def leave() -> None:
        posters.append(loop_poster())

    for backend in ("asyncio", "trio"):
        anyio.run(leave, backend=backend)
    journal, told = SqliteJournal(tmp_path / "runs.db"), Told()
    for number, post in enumerate(posters):
        run = journal.open_run(str(number), START, on_commit=nobody, post=post)
        run.append(record("s"))
    run = journal.open_run("a", START, on_commit=told)
    assert written(run, told, record("s")) is None
    journal.close()


def test_an_owner_s_function_that_raises_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr("fusynk.journals.writer.excepthook", raised.append)
    journal, told = SqliteJournal(tmp_path / "runs.db"), Told()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    journal.open_run("a", START, on_commit=fail).append(record("s"))
    run = journal.open_run("b", START, on_commit=told)
    assert written(run, told, record("s")) is None
    journal.close()

    assert [one.exc_type for one in raised] == [ZeroDivisionError]


# The file


def test_commits_are_shared_by_what_is_appended_meanwhile(tmp_path: Path) -> None:
    journal, told = SqliteJournal(tmp_path / "runs.db"), Told()
    run = journal.open_run("a", START, on_commit=told)

    written(run, told, *(record(str(number)) for number in range(9000)))

    assert told.groups < 1000
    journal.close()


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_the_file_is_written_as_promised(tmp_path: Path, synchronous: Any, level: int) -> None:
    journal = SqliteJournal(tmp_path / "runs.db", synchronous=synchronous)
    journal.runs()
    connection = journal._file.connection

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA fullfsync").fetchone() == (int(synchronous == "FULL"),)
    journal.close()


def test_nothing_is_made_before_the_first_call_and_only_the_owner_may_read(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    assert list(tmp_path.iterdir()) == []

    filled(journal, "a", 3)
    journal.close()

    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert modes == {"runs.db": 0, "runs.db.lock": 0, "runs.db.locks": 0}
    assert list((tmp_path / "runs.db.locks").iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, "", "a\0b", b"runs.db", ":memory:"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InvalidOption, match="SqliteJournal"):
        SqliteJournal(path)


@pytest.mark.parametrize("lease", [0, -1, "x", True, float("nan"), float("inf"), None])
def test_what_is_no_lease_is_refused(lease: Any) -> None:
    with pytest.raises(InvalidOption, match="lease must be seconds, more than 0"):
        SqliteJournal("runs.db", lease=lease)
    with pytest.raises(InvalidOption, match='synchronous must be "FULL" or "NORMAL"'):
        SqliteJournal("runs.db", synchronous=lease)


def test_two_journals_of_one_file_see_each_other_s_runs(tmp_path: Path) -> None:
    one, other = SqliteJournal(tmp_path / "runs.db"), SqliteJournal(tmp_path / "runs.db")
    filled(one, "a", 5)
    filled(other, "b", 5)
    run = one.open_run("c", START, on_commit=nobody)

    with pytest.raises(RunLocked):
        other.open_run("c", START, on_commit=nobody)
    assert [found.run_id for found in other.runs()] == ["a", "b", "c"]
    one.close()
    assert other.open_run("c", START, on_commit=nobody).state.epoch == run.state.epoch + 1
    other.close()


def test_a_number_is_never_given_to_another_run(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    filled(journal, "a", 1)
    first = journal.open_run("a", on_commit=nobody)
    first.release()
    journal.delete("a")

    assert journal.open_run("b", START, on_commit=nobody).number > first.number
    journal.close()


def test_the_rows_of_a_group_are_written_whatever_their_number(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db", synchronous="NORMAL")
    for count in [*range(1, 20), 511, 512, 513, 1023, 1025, 5000]:
        records = filled(journal, str(count), count)
        assert list(journal.history(str(count))) == records
    journal.close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()

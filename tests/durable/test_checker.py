"""The judge of killed runs: it finds each thing that can be wrong, in logs made up for that."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.durable.checker import Entry, Expected, Verdict, entries_of, judged

EXPECTED = Expected(
    starts={"a": 1, "b": 2, "pool": 1},
    result="fine",
    after={"b": ["a", "pool"], "a": []},
    everywhere=frozenset({"pool"}),
    derived=frozenset({"all"}),
)
RECORDED = {"a", "b"}


def found(pid: int, *steps: str) -> Entry:
    return Entry("found", pid, steps=steps)


def started(pid: int, step: str, attempt: int = 1) -> Entry:
    return Entry("started", pid, step, attempt)


def told(pid: int, *steps: str) -> list[Entry]:
    return [Entry("told", pid, step) for step in steps]


def ended(pid: int, said: str = "fine") -> Entry:
    return Entry("ended", pid, said=said)


# The first process dies while `b` is in its first attempt.
FIRST = [found(1), started(1, "pool"), *told(1, "pool"), started(1, "a"), *told(1, "a"), started(1, "b")]
KILLED = [*FIRST, Entry("killed", 1)]
SECOND = [
    *(found(2, "a"), *told(2, "a"), started(2, "pool"), *told(2, "pool")),
    *(started(2, "b"), started(2, "b", 2), *told(2, "b", "all"), ended(2)),
]


def verdict(*entries: Entry, recorded: Any = RECORDED) -> Verdict:
    return judged(entries, recorded, EXPECTED)


def test_a_run_that_was_killed_and_resumed_as_promised_passes() -> None:
    found = verdict(*KILLED, *SECOND)

    found.check("seed 1")
    assert (found.extra, found.in_flight, found.result) == (1, 1, "fine")


def test_a_run_that_nobody_disturbed_passes() -> None:
    verdict(*FIRST, started(1, "b", 2), *told(1, "b", "all"), ended(1)).check("seed 1")


def test_what_was_told_and_is_not_recorded_at_the_end_is_lost() -> None:
    assert verdict(*KILLED, *SECOND, recorded={"b"}).lost == ["a at the end"]


def test_what_was_told_and_is_not_found_by_the_next_process_is_lost() -> None:
    entries = [*KILLED, found(2), *SECOND[1:]]

    assert verdict(*entries).lost == ["a when 2 resumed"]


def test_what_starts_after_it_was_told_is_redone() -> None:
    entries = [*KILLED, SECOND[0], started(2, "a"), *SECOND[1:]]

    assert verdict(*entries).redone == ["a by 2"]


def test_what_runs_in_each_process_runs_once_there() -> None:
    entries = [*KILLED, *SECOND[:4], started(2, "pool", 1), *SECOND[4:]]

    assert verdict(*entries).redone == ["pool by 2"]


def test_what_never_starts_in_an_undisturbed_run_is_unexpected() -> None:
    assert verdict(*KILLED, started(2, "c"), *SECOND).unexpected == ["c started"]


def test_what_starts_before_its_predecessor_was_told_is_unexpected() -> None:
    entries = [*KILLED, *SECOND[:2], started(2, "b"), *SECOND[2:4], *SECOND[5:]]

    assert verdict(*entries).unexpected == ["b started by 2 before pool was told"]


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_an_attempt_that_is_out_of_its_turn_is_unexpected(attempt: int) -> None:
    entries = [*KILLED, *SECOND[:5], started(2, "b", attempt), *SECOND[5:]]

    assert verdict(*entries).unexpected == [f"b started its attempt {attempt} by 2"]


def test_what_does_not_start_though_it_does_in_an_undisturbed_run_is_unexpected() -> None:
    assert verdict(*KILLED, *SECOND[:4], *SECOND[6:]).unexpected == ["b started 1 times, not 2"]


def test_another_result_is_unexpected() -> None:
    assert verdict(*KILLED, *SECOND[:-1], ended(2, "spoilt")).unexpected == ["it came to spoilt, not to fine"]
    assert verdict(*KILLED, *SECOND[:-1]).unexpected == ["it came to , not to fine"]


def test_a_start_more_than_there_were_in_flight_is_too_many() -> None:
    calm = [*FIRST, started(1, "b", 2), *told(1, "b"), ended(1)]  # nothing is in flight any more

    assert verdict(*calm[:5], Entry("killed", 1), *SECOND).extra == 0
    found = verdict(*FIRST, *SECOND)  # as if nobody had been killed
    assert (found.extra, found.in_flight) == (1, 0)
    with pytest.raises(AssertionError, match="seed 7: 1 extra starts, 0 in flight at kills"):
        found.check("seed 7")


@pytest.mark.parametrize("kind", ["killed", "refused", "raised"])
def test_what_is_in_flight_when_a_process_ends_early_may_start_again(kind: Any) -> None:
    verdict(*FIRST, Entry(kind, 1), *SECOND).check("seed 1")


def test_a_failure_that_was_told_is_lost_and_redone_like_a_success() -> None:
    failed = Entry("failed", 1, "b")
    entries = [*FIRST, started(1, "b", 2), failed, Entry("killed", 1), *SECOND]

    found = verdict(*entries)

    assert found.lost == ["b when 2 resumed"]
    assert found.redone == ["b by 2", "b by 2"]
    assert verdict(*entries[: -len(SECOND)], recorded={"a"}).lost == ["b at the end"]


def test_what_failed_while_its_run_was_broken_off_may_start_again() -> None:
    entries = [*FIRST, Entry("failed", 1, "b"), Entry("refused", 1), *SECOND]

    found = verdict(*entries)

    found.check("seed 1")
    assert (found.extra, found.in_flight) == (1, 1)


@pytest.mark.parametrize("wrong", [{"lost": ["a"]}, {"redone": ["a"]}, {"unexpected": ["a"]}, {"extra": 1}])
def test_each_thing_that_is_wrong_fails_with_the_note(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="seed 3"):
        Verdict(**wrong).check("seed 3")


def test_the_lines_of_a_log_are_read_back(tmp_path: Path) -> None:
    entries = [*KILLED, *SECOND]
    log = tmp_path / "log"
    assert entries_of(log) == []

    log.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in entries))

    assert entries_of(log) == entries

"""What is said to those who use journals the wrong way: who, what, the value, and what to write instead."""

from pathlib import Path
from typing import Any

import pytest

from fusynk import Graph, Manager, compile_plan, layer
from fusynk.errors import InvalidOption, InvalidPlan, RunLocked, UnknownRun, Unstorable
from fusynk.journals import Codec, MemoryJournal, Sizes, SqliteJournal

graph = Graph("errors")


@graph.layer
async def double(number: int) -> int:
    return 2 * number


plan: Any = compile_plan(double)  # what is wrong on purpose is wrong to checkers, too


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("runs.db", r"Plan\.options\(journal='runs\.db'\): journal must be a journal, as SqliteJournal\(\"runs.db\"\)"),
        (SqliteJournal, r"journal must be a journal, as SqliteJournal\(\"runs.db\"\)"),
        (MemoryJournal, r"journal must be a journal, as SqliteJournal\(\"runs.db\"\)"),
    ],
)
def test_what_is_no_journal(wrong: object, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        plan.options(journal=wrong)


def test_resume_speaks_for_itself() -> None:
    with pytest.raises(InvalidOption, match=r"^Plan\.resume_sync\(run_id=3\): run_id must be a text"):
        plan.resume_sync(3, journal=MemoryJournal())
    with pytest.raises(InvalidOption, match=r"^Plan\.resume_sync\(journal='runs\.db'\): journal must be a journal"):
        plan.resume_sync("order", journal="runs.db")


def test_an_input_of_another_type_than_is_annotated() -> None:
    said = "The input 'number' is a str that cannot be kept in the journal: its value: Expected `int`, got `str`"
    with pytest.raises(Unstorable, match=said) as caught:
        plan.options(journal=MemoryJournal()).run_sync(number="one")
    assert caught.value.found == ": Expected `int`, got `str`"


def test_a_service_whose_plan_takes_it_as_an_input() -> None:
    class Service:
        @layer
        async def answer(self) -> int:
            return 42

    loose: Any = compile_plan(Service.answer)
    with pytest.raises(InvalidPlan) as caught:
        _ = loose.options(journal=MemoryJournal())
    assert "cannot be recorded with its input 'self': " in str(caught.value)
    assert "is bound by compile_plan(object.layer)" in str(caught.value)
    assert compile_plan(Service().answer).options(journal=MemoryJournal()).run_sync().result == 42


def test_a_codec_of_what_is_no_conversion() -> None:
    wrong: Any = complex
    with pytest.raises(InvalidOption, match=r"each must be a conversion, as Conversion\(Kind, encode, decode\)"):
        _ = Codec([wrong])
    with pytest.raises(InvalidOption, match=r"^Codec\(sizes=5\): sizes must be Sizes\(most="):
        _ = Codec(sizes=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("sizes", [{"most": -1}, {"warn_above": 0}, {"most": 1.5}, {"most": True}])
def test_sizes_that_are_none(sizes: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^Sizes\(\w+=.*\): \w+ must be a whole number of bytes, from 1 up"):
        _ = Sizes(**sizes)


def test_an_unknown_run_is_not_in_that_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    with pytest.raises(UnknownRun, match=r"runs\.db' has no run 'order'; journal") as caught:
        plan.resume_sync("order", journal=journal)
    assert str(path) in str(caught.value)
    journal.close()


async def test_a_run_in_this_very_process() -> None:
    journal, outer = MemoryJournal(), Graph("outer")
    same: Any = plan.options(journal=journal, run_id="order")

    @outer.layer
    async def within(number: int) -> int:
        return int((await same.run(number=number)).result)

    with pytest.raises(RunLocked, match=r"in the hands of this very process, OS process \d+ .*an id of its own"):
        _ = await compile_plan(within).options(journal=journal, run_id="order").run(number=1)


def test_a_manager_whose_runs_would_all_be_one() -> None:
    with pytest.raises(InvalidOption, match=r"each run of a unit needs an id of its own.*leave run_id out"):
        _ = Manager(options={"journal": MemoryJournal(), "run_id": "x"})

"""What cannot be recorded is refused before anything runs, if its annotation says so."""

from dataclasses import dataclass
from typing import Any

import pytest

from fusynk import Graph, compile_plan
from fusynk.errors import InvalidPlan, Unstorable
from fusynk.journals import Codec, Conversion, MemoryJournal


class Frame:
    """Nothing that the codec knows."""


@dataclass
class Page:
    frames: list[Frame]


@dataclass
class Book:
    cover: Frame | None = None


@dataclass
class Cat:
    name: str


@dataclass
class Dog:
    name: str


def plan_returning(annotation: Any) -> Any:
    graph = Graph("types")

    async def make() -> Any: ...

    make.__annotations__["return"] = annotation
    _ = graph.layer(make)
    return compile_plan(graph)


@pytest.mark.parametrize("annotation", [Frame, list[Frame], dict[str, Page], tuple[int, Frame]])
def test_a_type_that_the_codec_does_not_know_is_refused(annotation: Any) -> None:
    with pytest.raises(InvalidPlan) as caught:
        _ = plan_returning(annotation).options(journal=MemoryJournal())

    text = str(caught.value)
    assert "UnrecordableUnit: 'make' (test_refused_types.py:" in text
    assert "the codec does not know Frame" in text
    assert "give a Conversion(Frame, ...)" in text


def test_a_conversion_makes_it_known() -> None:
    codec = Codec([Conversion(Frame, lambda frame: 0, lambda found: Frame())])
    _ = plan_returning(list[Frame]).options(journal=MemoryJournal(codec=codec))


@pytest.mark.parametrize("annotation", [Any, object, Book, Frame | None, dict[str, object]])
def test_what_may_hold_something_else_is_left_to_the_artifact(annotation: Any) -> None:
    _ = plan_returning(annotation).options(journal=MemoryJournal())


def test_types_that_json_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InvalidPlan) as caught:
        _ = plan_returning(Cat | Dog).options(journal=MemoryJournal())
    assert "Annotate what can be told apart" in str(caught.value)


def test_all_of_them_are_told_at_once_and_without_a_journal_none() -> None:
    graph = Graph("types")

    @graph.layer
    async def one() -> Frame: ...  # type: ignore[empty-body]

    @graph.layer
    async def two(given: Frame) -> Page: ...  # type: ignore[empty-body]

    plan = compile_plan(graph)
    with pytest.raises(InvalidPlan) as caught:
        _ = plan.options(journal=MemoryJournal())
    told = sorted(map(str, caught.value.exceptions))
    assert [text.split()[0] for text in told] == ["'one'", "'two'", "'two'"]
    assert sum("with its input 'given'" in text for text in told) == 1


async def test_an_input_that_cannot_be_kept_is_refused_before_anything_runs() -> None:
    graph = Graph("inputs")

    @graph.layer
    async def make(given: Any) -> int:
        raise AssertionError

    journal = MemoryJournal()
    with pytest.raises(Unstorable, match="The input 'given' is a Frame that cannot be kept in the journal") as caught:
        _ = await compile_plan(graph).options(journal=journal, run_id="order").run(given=Frame())
    assert "is bound by compile_plan(object.layer)" in str(caught.value)
    assert list(journal.runs()) == []

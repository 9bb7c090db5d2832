"""An edge is refused where two types can certainly not meet, and nowhere else."""

import decimal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Generic, Literal, NewType, Protocol, TypedDict, TypeVar

import pytest

from fusynk import Graph, compile_plan, use
from fusynk.errors import IncompatibleEdge, InvalidPlan
from tests import loose

T = TypeVar("T")
Identifier = NewType("Identifier", int)


class Animal:
    """A plain class."""


class Cat(Animal):
    """A narrower one."""


class Sized(ABC):
    """Any class may register with it."""

    @abstractmethod
    def size(self) -> int: ...


class Speaks(Protocol):
    def speak(self) -> str: ...


class Row(TypedDict):
    number: int


class Box(Generic[T]):
    """A generic class."""


def compiled(produced: object, wanted: object, mark: Any = loose.use) -> object:
    """Compiles one edge between two annotations."""

    def source() -> Any: ...

    def reader(value: Any) -> Any: ...

    source.__annotations__["return"] = produced
    graph: Any = Graph("types")
    unit = graph.add_layer(source)
    reader.__defaults__ = (mark(unit),)
    reader.__annotations__["value"] = wanted
    decorate = graph.layer.each if mark is loose.each else graph.layer
    return compile_plan(decorate(reader))


@pytest.mark.parametrize(
    ("produced", "wanted"),
    [
        (int, str),
        (str, int),
        (float, int),
        (complex, float),
        (Animal, str),
        (Cat, int),
        (None, int),
        (int, None),
        (dict, list),
        (bytes, str),
        (date, str),
        (decimal.Decimal, int),
        (decimal.Decimal, float),
        ("int", "str"),
        ("Cat", "int"),
    ],
    ids=str,
)
def test_plain_unrelated_classes_never_meet(produced: object, wanted: object) -> None:
    with pytest.raises(InvalidPlan) as caught:
        compiled(produced, wanted)

    assert [type(fault) for fault in caught.value.exceptions] == [IncompatibleEdge]


@pytest.mark.parametrize(
    ("produced", "wanted"),
    [
        (int, int),
        (int, float),
        (int, complex),
        (float, complex),
        (bool, int),
        (bool, float),
        (Cat, Animal),
        (Animal, Cat),
        (datetime, date),
        (int, object),
        (object, int),
        (int, Any),
        (Any, int),
        (int, int | str),
        (int | None, str),
        (int, Literal["a"]),
        (Identifier, int),
        (Annotated[int, "count"], str),
        (list[int], list[str]),
        (list[int], Iterable[str]),
        (dict[str, int], Mapping[str, str]),
        (int, T),
        (int, Box[int]),
        (Box, int),
        (int, Sized),
        (Sized, int),
        (int, Speaks),
        (Speaks, int),
        (Row, dict),
        (dict, Row),
        (int, Callable[[], int]),
        ("NotDeclaredAnywhere", int),
        (int, "not a type at all"),
        (int, "1 / 0"),
    ],
    ids=str,
)
def test_types_that_may_meet_pass(produced: object, wanted: object) -> None:
    compiled(produced, wanted)


@pytest.mark.parametrize(
    ("produced", "wanted"),
    [(list[int], str), (set[str], int), (Iterable[Cat], int), (int, int), (None, int), (Animal, Animal)],
    ids=str,
)
def test_items_that_never_meet_are_refused(produced: object, wanted: object) -> None:
    with pytest.raises(InvalidPlan):
        compiled(produced, wanted, loose.each)


@pytest.mark.parametrize(
    ("produced", "wanted"),
    [
        (list[int], float),
        (list, int),
        (dict[str, int], str),
        (str, str),
        (Any, int),
        (Iterable[Any], int),
        (Sized, int),
    ],
    ids=str,
)
def test_items_that_may_meet_pass(produced: object, wanted: object) -> None:
    compiled(produced, wanted, loose.each)


def test_an_outcome_and_a_default_have_types_of_their_own() -> None:
    compiled(int, str, loose.use.outcome)
    compiled(int, int, partial(loose.use, default=None))
    with pytest.raises(InvalidPlan):
        compiled(int, str, partial(loose.use, default="none"))


def test_annotations_in_quotes_are_read_where_they_are_written() -> None:
    class Local:
        """Known inside this function only."""

    graph = Graph("types")

    @graph.layer
    def source() -> "Local":
        return Local()

    @graph.layer
    def fine(value: "Local" = use(source)) -> None: ...

    marker = loose.use(source)

    @graph.layer
    def wrong(value: "int" = marker) -> None: ...

    compile_plan(fine)
    with pytest.raises(InvalidPlan) as caught:
        compile_plan(wrong)
    assert "Local" in str(caught.value)


def test_a_type_given_with_a_name_is_checked_too() -> None:
    graph = Graph("types")

    @graph.layer
    def source() -> int:
        return 1

    @graph.layer
    def reader(value: Any = use("source", type=str)) -> None: ...

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(reader, source)
    assert "type=str" in str(caught.value)


def test_without_annotations_everything_passes() -> None:
    graph = Graph("types")
    source = loose.graph("types").layer(eval("lambda: 1"), name="source")  # noqa: S307 - nothing tells its type

    @graph.layer
    def reader(value: str = loose.use(source)) -> str:
        return value

    compile_plan(reader)

"""P26: a graph that cannot run is refused as a whole, and the order of declaration never matters."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusynk import Graph, compile_plan, each, use, when
from fusynk.errors import (
    DeclarationError,
    DependencyCycle,
    DuplicateName,
    FusynkError,
    InvalidPlan,
    PlanFault,
    UnknownDependency,
    UnknownOption,
    UnknownParameter,
)
from fusynk.testing import simulate
from tests import loose

DRAWN = settings(suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Declaration:
    """One unit, with the names it takes artifacts of and those it only follows."""

    name: str
    takes: tuple[str, ...]
    follows: tuple[str, ...]
    conditional: bool
    priority: int

    def declare(self, graph: Graph, ran: list[str]) -> None:
        def body(*parts: object) -> tuple[object, ...]:
            ran.append(self.name)
            return self.name, *parts

        unchecked: Any = body
        unchecked.__signature__ = inspect.Signature(
            [
                inspect.Parameter(
                    f"part_{place}", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=use(name, type=object)
                )
                for place, name in enumerate(self.takes)
            ]
        )
        follows = [when(name, bool) if self.conditional else name for name in self.follows]
        graph.add_layer(body, name=self.name, depends_on=follows, priority=self.priority)


@st.composite
def declarations(draw: st.DrawFn, broken: bool = False) -> tuple[list[Declaration], list[Declaration]]:
    """Some declarations, and the same in another order."""
    names = [f"unit_{number}" for number in range(draw(st.integers(1, 9)))]
    priorities = draw(st.permutations(range(len(names))))
    found: list[Declaration] = []
    for place, name in enumerate(names):
        known = [*names, "nowhere", "unit"] if broken else names[:place]
        sources = st.lists(st.sampled_from(known), max_size=3, unique=True) if known else st.just([])
        takes, follows = draw(sources), draw(sources)
        found.append(Declaration(name, tuple(takes), tuple(follows), draw(st.booleans()), priorities[place]))
    return found, draw(st.permutations(found))


def declared(found: Iterable[Declaration], ran: list[str]) -> Graph:
    graph = Graph("drawn")
    for declaration in found:
        declaration.declare(graph, ran)
    return graph


@DRAWN
@given(drawn=declarations())
def test_p26_the_order_of_declaration_changes_nothing(drawn: tuple[list[Declaration], list[Declaration]]) -> None:
    ran: list[str] = []
    plan, shuffled = (compile_plan(declared(found, ran), concurrency=1) for found in drawn)

    # Priorities are all different, so nothing is left to the order of declaration.
    assert plan.order == shuffled.order
    assert [set(level) for level in plan.levels] == [set(level) for level in shuffled.levels]
    first, second = simulate(plan).run, simulate(shuffled).run
    assert dict(first.outcomes) == dict(second.outcomes)
    assert first.result == second.result
    assert ran == [*plan.order, *plan.order]


@DRAWN
@given(drawn=declarations())
def test_p26_the_order_of_a_plan_goes_along_its_edges(drawn: tuple[list[Declaration], list[Declaration]]) -> None:
    found, shuffled = drawn

    plan = compile_plan(declared(shuffled, []))

    place = {name: number for number, name in enumerate(plan.order)}
    level = {name: number for number, names in enumerate(plan.levels) for name in names}
    for declaration in found:
        sources = {*declaration.takes, *declaration.follows}
        assert all(place[source] < place[declaration.name] for source in sources)
        assert level[declaration.name] == 1 + max((level[source] for source in sources), default=-1)


def faults_of(found: Iterable[Declaration], ran: list[str]) -> Sequence[PlanFault]:
    graph = declared(found, ran)
    names = list(graph.units)
    try:
        compile_plan(graph)
    except InvalidPlan as error:
        assert list(graph.units) == names
        return [fault for fault in error.exceptions if isinstance(fault, PlanFault)]
    return []


@DRAWN
@given(drawn=declarations(broken=True))
def test_p26_every_order_of_declaration_is_refused_alike(drawn: tuple[list[Declaration], list[Declaration]]) -> None:
    ran: list[str] = []

    first, second = (faults_of(found, ran) for found in drawn)

    def unknown(faults: Iterable[PlanFault]) -> list[tuple[str | None, bool]]:
        return sorted((fault.unit, "nowhere" in str(fault)) for fault in faults if isinstance(fault, UnknownDependency))

    assert unknown(first) == unknown(second)
    assert len(unknown(first)) == sum(
        name in {"nowhere", "unit"} for found in drawn[0] for name in (*found.takes, *found.follows)
    )
    cycles = [[fault.cycle for fault in faults if isinstance(fault, DependencyCycle)] for faults in (first, second)]
    assert bool(cycles[0]) == bool(cycles[1]) == is_circular(drawn[0])
    for cycle in (*cycles[0], *cycles[1]):
        assert_is_a_cycle(cycle, drawn[0])
    assert ran == []


def is_circular(found: Iterable[Declaration]) -> bool:
    """Tells by trial: what waits for nothing that is left goes, until nothing more can go."""
    left = {declaration.name: {*declaration.takes, *declaration.follows} for declaration in found}
    while free := [name for name, sources in left.items() if not sources & left.keys()]:
        for name in free:
            del left[name]
    return bool(left)


def assert_is_a_cycle(cycle: Sequence[str], found: Iterable[Declaration]) -> None:
    sources = {declaration.name: {*declaration.takes, *declaration.follows} for declaration in found}
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == len(cycle) - 1
    assert all(former in sources[later] for former, later in pairwise(cycle))


async def nothing() -> None: ...


def chained(dependencies: Mapping[str, Iterable[str]]) -> Graph:
    graph = Graph("chained")
    for name, sources in dependencies.items():
        graph.add_layer(nothing, name=name, depends_on=list(sources))
    return graph


@pytest.mark.parametrize("length", [1, 2, 3, 3000])
def test_p26_a_cycle_is_named_in_its_order(length: int) -> None:
    names = [f"step_{number}" for number in range(length)]
    shuffled = Random(length).sample(range(length), length)

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(chained({names[place]: [names[place - 1]] for place in shuffled}))

    (fault,) = caught.value.exceptions
    assert isinstance(fault, DependencyCycle)
    turn = names.index(fault.cycle[0])
    assert fault.cycle == (*names[turn:], *names[: turn + 1])
    assert len(str(fault)) < 500


def test_p26_cycles_are_found_without_following_every_path() -> None:
    # Each of the 2,000 rungs doubles the number of paths; the last rung closes a cycle with the first.
    ladder = {f"{side}{rung}": [f"a{rung - 1}", f"b{rung - 1}"] for rung in range(1, 2000) for side in "ab"}
    ladder |= {"a0": ["b1999"], "b0": []}

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(chained(ladder))

    assert all(isinstance(fault, DependencyCycle) for fault in caught.value.exceptions)


def test_p26_a_long_chain_needs_no_deep_stack() -> None:
    chain = chained({f"step_{number}": [f"step_{number - 1}"] if number else [] for number in range(3000)})
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 120)
    try:
        plan = compile_plan(chain)
        explained = plan.explain()
    finally:
        sys.setrecursionlimit(limit)

    assert plan.order[-1] == "step_2999"
    assert len(plan.levels) == 3000
    assert "step_2999" in explained


def unknown_dependency() -> object:
    return compile_plan(chained({"inventory": [], "pay": ["inventry"]}))


def duplicate_name() -> object:
    first, second = chained({"pay": []}), chained({"pay": []})
    return compile_plan(*first, *second)


def duplicate_in_a_graph() -> object:
    graph = chained({"pay": []})
    return graph.add_layer(nothing, name="pay")


def wrong_arity() -> object:
    graph = Graph("shop")

    @graph.layer
    async def pay(amount: int) -> int:
        return amount

    return compile_plan(pay).override(pay.calls(lambda: 1))


def unknown_option() -> object:
    return loose.layer(retrys=3)


@pytest.mark.parametrize(
    ("mistake", "kind", "said"),
    [
        (unknown_dependency, UnknownDependency, "Did you mean 'inventory'?"),
        (duplicate_name, DuplicateName, "'pay'"),
        (duplicate_in_a_graph, DuplicateName, "'pay'"),
        (wrong_arity, UnknownParameter, "amount"),
        (unknown_option, UnknownOption, "Did you mean 'retries'?"),
    ],
    ids=["unknown dependency", "duplicate name", "duplicate in a graph", "wrong arity", "unknown option"],
)
def test_p26_a_mistake_is_an_error_before_anything_runs(
    mistake: Callable[[], object], kind: type[FusynkError], said: str
) -> None:
    with pytest.raises((InvalidPlan, DeclarationError, PlanFault)) as caught:
        mistake()

    error = caught.value
    assert isinstance(error.exceptions[0] if isinstance(error, InvalidPlan) else error, kind)
    assert said in str(error)


def test_p26_a_refused_plan_leaves_its_units_as_they_were() -> None:
    ran: list[str] = []
    graph = Graph("shop")

    @graph.layer(depends_on="missing")
    def pay() -> None:
        ran.append("pay")

    with pytest.raises(InvalidPlan):
        compile_plan(graph)
    assert list(graph.units) == ["pay"]

    @graph.layer
    def missing() -> None:
        ran.append("missing")

    assert ran == []
    simulate(compile_plan(graph))
    assert ran == ["missing", "pay"]


def test_p26_compiling_twice_changes_nothing() -> None:
    calls: list[tuple[int, int]] = []
    graph = Graph("shop")

    @graph.layer
    def source() -> int:
        return 1

    @graph.layer(depends_on=source)
    def reader(source: int, again: int = use(source)) -> None:
        calls.append((source, again))

    plans = [compile_plan(graph) for _ in range(3)]
    for plan in plans:
        simulate(plan)

    assert calls == [(1, 1)] * 3
    assert len({plan.explain() for plan in plans}) == 1


def test_p26_a_unit_named_like_an_item_is_told() -> None:
    graph = Graph("shop")

    @graph.layer
    def numbers() -> list[int]:
        return [1]

    @graph.layer.each
    def item(number: int = each(numbers)) -> int:
        return number

    # The names of items and units are keys of one mapping, where one failure would hide another.
    with pytest.raises((InvalidPlan, DeclarationError, PlanFault)) as caught:
        graph.add_layer(nothing, name="item[0]")
        compile_plan(graph)
    assert "item[0]" in str(caught.value)


def test_p26_compiling_runs_no_body_no_condition_and_no_default() -> None:
    graph = Graph("shop")

    def never(*_: object) -> Any:
        message = "this ran while compiling"
        raise AssertionError(message)

    @graph.layer
    def probe() -> int:
        return int(never())

    @graph.layer(depends_on=when(probe, never), on_error=never, retry_on=never, retry_delay=never)
    def pay(number: int = use(probe, when=never)) -> int:
        return number

    plan = compile_plan(pay)

    assert "never" in plan.explain()
    assert plan.options(concurrency=1).override(probe.calls(never)).order == ("probe", "pay")

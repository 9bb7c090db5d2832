"""What a plan takes and gives: its inputs, its targets, its order."""

from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import pytest

from fusynk import Graph, compile_plan, layer, process, use
from fusynk.errors import InvalidPlan
from fusynk.testing import simulate
from tests import loose


@layer
async def five() -> int:
    return 5


@layer
async def seven() -> int:
    return 7


@layer(on_error="continue")
async def broken() -> int:
    raise ValueError("broken")


def number_of(number: int = -1) -> int:
    """A function whose one parameter is bound in every way."""
    return number


@layer
async def number_sum(count: int, size: int = 1) -> int:
    return count + size


class TestInputs:
    def test_an_input_is_required_if_any_unit_requires_it(self) -> None:
        @layer
        async def needs(count: int) -> int:
            return count

        @layer
        async def would_like(count: int = 4) -> int:
            return count

        @layer
        async def needs_too(count: int) -> int:
            return count

        for targets in ((needs, would_like), (would_like, needs_too)):
            plan = compile_plan(*targets)

            assert plan.inputs["count"].needed_by == tuple(unit.__name__ for unit in targets)
            assert "count" in str(simulate_error(plan))
            assert simulate(plan, {"count": 1}).result == (1, 1)

    def test_an_optional_input_may_be_left_out(self) -> None:
        @layer
        async def one(count: int = 4) -> int:
            return count

        @layer
        async def other(count: int = 4) -> int:
            return count

        plan = compile_plan(one, other)
        assert plan.inputs["count"].default == 4
        assert simulate(plan).result == (4, 4)

    def test_defaults_that_cannot_be_compared_are_two_defaults(self) -> None:
        class Odd:
            __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

            def __eq__(self, other: object) -> bool:
                raise RuntimeError

        odd, another = Odd(), Odd()

        @layer
        def one(limit: Odd = odd) -> None: ...

        @layer
        def same(limit: Odd = odd) -> None: ...

        @layer
        def other(limit: Odd = another) -> None: ...

        assert list(compile_plan(one, same).inputs) == ["limit"]
        with pytest.raises(InvalidPlan) as caught:
            compile_plan(one, other)
        assert "InputConflict" in str(caught.value)

    def test_inputs_say_their_type_as_far_as_it_is_known(self) -> None:
        @layer
        async def typed(count: int, names: "list[str]", later: "NotDeclared" = None) -> None: ...  # type: ignore[name-defined] # noqa: F821 # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]

        untyped = loose.layer(eval("lambda count: count"), name="untyped")  # noqa: S307 - nothing tells its types
        inputs = loose.compile_plan(untyped, typed).inputs

        assert inputs["count"].type is int
        assert inputs["names"].type == list[str]
        assert "later: any type = None" in loose.compile_plan(typed).explain()

    def test_a_dataclass_holds_the_inputs(self) -> None:
        @dataclass(frozen=True)
        class Wanted:
            count: int
            size: int = 3

        plan = compile_plan(number_sum, inputs=Wanted)

        assert simulate(plan, Wanted(1)).result == 4
        assert simulate(plan, Wanted(1, size=5)).result == 6
        assert simulate(plan, {"count": 2, "size": 2}).result == 4

    def test_the_default_of_a_field_is_that_of_its_instance(self) -> None:
        @dataclass
        class Wanted:
            count: int = 100
            size: int = 100

        assert simulate(compile_plan(number_sum, inputs=Wanted), Wanted()).result == 200

    def test_only_fields_are_inputs_not_what_else_an_instance_has(self) -> None:
        @dataclass
        class Wanted:
            count: int

            def size(self) -> int:
                return 1000

        assert simulate(compile_plan(number_sum, inputs=Wanted), Wanted(1)).result == 2

    def test_an_attrs_class_holds_them_too(self) -> None:
        attrs: Any = pytest.importorskip("attrs")
        wanted = attrs.make_class("Wanted", {"count": attrs.field(type=int), "size": attrs.field(type=int, default=3)})

        plan = loose.compile_plan(number_sum, inputs=wanted)

        assert simulate(plan, wanted(1)).result == 4

    def test_an_instance_of_a_subclass_is_one_of_the_class(self) -> None:
        @dataclass(frozen=True)
        class Wanted:
            count: int

        @dataclass(frozen=True)
        class More(Wanted):
            note: str = ""

        assert simulate(compile_plan(number_sum, inputs=Wanted), More(1, "more")).result == 2

    def test_a_field_that_no_unit_takes_is_a_suspicion(self) -> None:
        @dataclass(frozen=True)
        class Wanted:
            count: int
            colour: str

        plan = compile_plan(number_sum, inputs=Wanted)

        assert "no unit takes Wanted.colour" in plan.explain()
        assert simulate(plan, Wanted(1, "red")).result == 2

    @pytest.mark.parametrize("name", ["inputs", "self", "keywords", "plan", "run_id", "tape"])
    def test_no_name_of_an_input_is_taken(self, name: str) -> None:
        graph = Graph("names")
        namespace: dict[str, Any] = {}
        exec(f"def step({name}): return {name}", namespace)  # noqa: S102 - the only way to such a parameter
        add_layer: Any = graph.add_layer
        unit: Any = add_layer(namespace["step"])

        assert simulate(compile_plan(unit), {name: 3}).result == 3
        assert compile_plan(unit).run_sync(**{name: 4}).result == 4

    def test_the_instance_of_a_service_is_passed_as_self(self) -> None:
        class Service:
            @layer
            def step(self, number: int) -> int:
                return number

        plan = compile_plan(Service.step)
        assert plan.run_sync(self=Service(), number=2).result == 2


def simulate_error(plan: Any) -> TypeError:
    with pytest.raises(TypeError) as caught:
        simulate(plan)
    return caught.value


class TestTargets:
    def test_one_target_gives_its_artifact_and_several_a_tuple(self) -> None:
        assert simulate(compile_plan(five)).result == 5
        assert simulate(compile_plan(five, seven)).result == (5, 7)
        assert simulate(compile_plan(seven, five, seven)).result == (7, 5, 7)

    def test_a_plan_is_what_its_targets_reach(self) -> None:
        @layer(depends_on=seven)
        async def step() -> None: ...

        assert compile_plan(step).order == ("seven", "step")

    def test_a_graph_gives_a_mapping_of_its_sinks(self) -> None:
        graph = Graph("sinks")
        one = graph.add_layer(lambda: 1, name="one")
        two = graph.add_layer(lambda: 2, name="two", depends_on=one)
        graph.process("ordered", two, mode="sequential")
        graph.add_layer(lambda: 3, name="three")

        assert simulate(compile_plan(graph)).result == {"ordered": {"two": 2}, "three": 3}

    def test_what_only_a_run_mode_orders_is_a_sink(self) -> None:
        graph = Graph("modes")
        one = graph.add_layer(lambda: 1, name="one")
        two = graph.add_layer(lambda: 2, name="two")

        @graph.process(one, two, mode="sequential")
        def last() -> str:
            return "last"

        assert simulate(compile_plan(graph)).result == {"last": "last"}

    def test_a_process_as_target_gives_the_artifact_of_its_function(self) -> None:
        @process(five, seven)
        async def total(one: int = use(five), other: int = use(seven)) -> int:
            return one + other

        assert simulate(compile_plan(total)).result == 12

    @pytest.mark.parametrize(
        ("targets", "said"),
        [
            ((), r"needs a target"),
            ((number_of,), r"'number_of'; decorate it with @layer first"),
            ((None,), r"not None"),
            ((7,), r"not 7"),
            ((Graph("one"), five), r"graph"),
        ],
    )
    def test_what_is_no_target(self, targets: tuple[object, ...], said: str) -> None:
        with pytest.raises(TypeError, match=said):
            loose.compile_plan(*targets)

    def test_a_unit_under_another_decorator_is_found_out(self) -> None:
        @wraps(five)
        def covered(*args: Any) -> Any:
            return five(*args)

        with pytest.raises(TypeError, match=r"'five'.*@layer.*top"):
            loose.compile_plan(covered)


class TestOrder:
    def test_sources_start_in_the_order_of_declaration(self) -> None:
        graph = Graph("order")
        names = ["c", "a", "d", "b"]
        for name in names:
            graph.add_layer(lambda: 1, name=name)

        assert compile_plan(graph).order == tuple(names)
        assert loose.compile_plan(*reversed(list(graph))).order == tuple(names)

    def test_the_order_is_that_of_a_run_with_one_slot(self) -> None:
        graph = Graph("order")
        started: list[str] = []

        def add(name: str, priority: int, *after: str) -> None:
            graph.add_layer(lambda: started.append(name), name=name, priority=priority, depends_on=after)

        add("last", 9, "b", "d")
        add("a", 0)
        add("b", 1, "a")
        add("c", 5, "a")
        add("d", 0)
        disciplines: list[Literal["fifo", "lifo"]] = ["fifo", "lifo"]
        for discipline in disciplines:
            plan = compile_plan(graph, concurrency=1).options(discipline=discipline)
            started.clear()
            simulate(plan)
            assert tuple(started) == plan.order

    def test_priority_goes_first_and_the_discipline_decides_among_equals(self) -> None:
        graph = Graph("order")
        for name, priority in {"a": 0, "b": 0, "c": 7, "d": 7, "e": 0}.items():
            graph.add_layer(lambda: 1, name=name, priority=priority)

        assert compile_plan(graph).order == ("c", "d", "a", "b", "e")
        assert compile_plan(graph, discipline="lifo").order == ("d", "c", "e", "b", "a")

    def test_levels_hold_the_steps_by_their_longest_path(self) -> None:
        graph = Graph("levels")
        for name, after in {"a": "", "b": "a", "c": "", "d": "bc", "e": "ad"}.items():
            graph.add_layer(lambda: 1, name=name, depends_on=list(after))

        assert compile_plan(graph).levels == (("a", "c"), ("b",), ("d",), ("e",))

    def test_explain_numbers_the_levels_as_the_plan_does(self) -> None:
        graph = Graph("levels")
        members = [graph.add_layer(lambda: 1, name=name) for name in "abc"]
        plan = compile_plan(graph.process("ordered", *members, mode="sequential"))

        said = plan.explain()

        for level, names in enumerate(plan.levels):
            for name in names:
                assert f"  {name}  (level {level}," in said
        assert "(barrier" not in said

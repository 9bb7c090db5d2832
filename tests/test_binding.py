"""How a parameter is bound: its marker, the builder, a name in `depends_on`, or else an input; never otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import pytest

from fusynk import (
    Batch,
    Cancelled,
    Failed,
    Graph,
    Outcome,
    Skipped,
    Succeeded,
    compile_plan,
    each,
    layer,
    process,
    use,
    when,
)
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


class TestRules:
    def test_first_a_marker(self) -> None:
        @layer(depends_on=[seven])
        def step(seven: int = use(five)) -> int:
            return seven

        assert simulate(compile_plan(step)).result == 5

    def test_a_marker_goes_before_the_builder(self) -> None:
        def step(number: int = use(five)) -> int:
            return number

        bound = Graph("one").add_layer(step, bind={"number": seven})

        assert simulate(compile_plan(bound)).result == 5

    def test_second_the_builder(self) -> None:
        graph = Graph("one")
        by_unit = graph.add_layer(number_of, name="by_unit", bind={"number": five})
        by_name = graph.add_layer(number_of, name="by_name", bind={"number": "by_unit"})

        assert simulate(compile_plan(by_unit, by_name)).result == (5, 5)

    def test_the_builder_goes_before_a_name_in_depends_on(self) -> None:
        def step(seven: int) -> int:
            return seven

        bound = Graph("one").add_layer(step, depends_on=[seven], bind={"seven": five})

        trace = simulate(compile_plan(bound))
        assert trace.result == 5
        assert trace.run[seven] == 7

    @pytest.mark.parametrize(
        "depends_on",
        [five, [five], (seven, five), {five}, "five", ["seven", "five"], (unit for unit in (five, seven))],
        ids=["unit", "list", "tuple", "set", "name", "names", "generator"],
    )
    def test_third_a_name_in_depends_on(self, depends_on: Any) -> None:
        @layer(depends_on=depends_on)
        async def step(five: int) -> int:
            return five

        assert simulate(compile_plan(step)).result == 5

    def test_a_name_in_depends_on_goes_before_the_default_of_an_input(self) -> None:
        @layer(depends_on=five)
        async def step(five: int = -1) -> int:
            return five

        assert simulate(compile_plan(step)).result == 5
        assert compile_plan(step).inputs == {}

    def test_a_name_in_depends_on_is_the_units_not_the_functions(self) -> None:
        renamed = layer(number_of, name="renamed")

        @layer(depends_on=renamed)
        def step(renamed: int, number_of: int) -> tuple[int, int]:
            return renamed, number_of

        assert simulate(compile_plan(step), {"number": 3, "number_of": 4}).result == (3, 4)

    def test_a_condition_in_depends_on_binds_by_name_too(self) -> None:
        @layer(depends_on=when(five, lambda number: number > 5))
        async def closed(five: int) -> int:
            return five

        @layer(depends_on=[when("five", lambda number: number == 5)])
        async def opened(five: int) -> int:
            return five

        run = simulate(compile_plan(closed, opened)).run
        assert run.outcome(closed) == Skipped(because="five", cause="condition")
        assert run[opened] == 5

    def test_last_an_input(self) -> None:
        step = layer(number_of, name="step")

        assert simulate(compile_plan(step), {"number": 3}).result == 3
        assert simulate(compile_plan(step)).result == -1

    def test_a_bare_name_is_never_matched_against_the_graph(self) -> None:
        @layer
        async def step(five: int = 0, seven: int = 0) -> tuple[int, int]:
            return five, seven

        assert simulate(compile_plan(step, five, seven)).run[step] == (0, 0)
        said = compile_plan(step, five, seven).explain()
        assert "input 'five' has the name of a unit" in said
        assert "use(five)" in said

    def test_a_name_that_only_an_upstream_unit_depends_on_is_an_input(self) -> None:
        @layer(depends_on=five)
        async def middle() -> None: ...

        @layer(depends_on=middle)
        async def step(five: int = 0) -> int:
            return five

        assert simulate(compile_plan(step)).result == 0

    def test_types_alone_bind_nothing(self) -> None:
        @layer
        async def only() -> Mapping[str, int]:
            return {}

        @layer(depends_on=only)
        async def step(counts: Mapping[str, int] | None = None) -> object:
            return counts

        assert simulate(compile_plan(step)).result is None

    def test_explain_tells_where_each_parameter_comes_from(self) -> None:
        @layer(depends_on=[seven, when(broken, bool)])
        async def step(
            seven: int,
            count: int,
            number: int = use(five),
            either: int | None = use(broken, default=None),
            ended: Outcome[int] = use.outcome(broken),
            size: int = 3,
        ) -> None: ...

        said = compile_plan(step).explain()

        for line in (
            "seven <- seven",
            "count <- input",
            "number <- five",
            "either <- broken, or None",
            "ended <- outcome of broken",
            "size <- input",
            "after broken when bool",
            "size: int = 3",
        ):
            assert f"  {line}" in said


class TestForwardNames:
    def test_a_name_reaches_a_unit_that_is_declared_later(self) -> None:
        graph = Graph("later")

        @graph.layer(depends_on=["before", when("number", lambda number: number == 2)])
        async def step(
            number: int = use("number", type=int), other: int | None = use("number", type=int, default=None)
        ) -> int:
            return number + (other or 0)

        @graph.layer
        async def before() -> None: ...

        @graph.layer
        async def number() -> int:
            return 2

        assert simulate(compile_plan(step)).result == 4

    def test_a_name_means_the_same_graph_first(self) -> None:
        graph = Graph("own")

        @graph.layer
        async def five() -> str:
            return "of the graph"

        @graph.layer
        async def step(number: str = use("five", type=str)) -> str:
            return number

        assert simulate(compile_plan(step)).result == "of the graph"

    def test_an_import_path_reaches_another_module(self) -> None:
        graph = Graph("other")

        @graph.layer(depends_on="tests.test_binding:seven")
        async def step(number: int = use("tests.test_binding:five", type=int)) -> int:
            return number

        assert set(compile_plan(step).order) == {"five", "seven", "step"}
        assert simulate(compile_plan(step)).result == 5

    def test_an_outcome_and_an_item_may_be_named_too(self) -> None:
        graph = Graph("named")

        @graph.layer
        async def step(ended: Outcome[object] = use.outcome("tests.test_binding:broken")) -> str:
            return type(ended).__name__

        assert simulate(compile_plan(step)).result == "Failed"


class TestEdges:
    """What each kind of edge passes, after each way in which its source can end."""

    def test_a_default_replaces_what_failed_or_was_refused(self) -> None:
        @layer
        async def refused(number: int = use(five, default=0, when=lambda number: number > 9)) -> int:
            return number

        @layer
        async def failed(number: int | None = use(broken, default=None)) -> int | None:
            return number

        @layer
        async def skipped(number: int = use(broken)) -> int:
            return number

        @layer
        async def behind(number: int = use(skipped, default=-1)) -> int:
            return number

        run = simulate(compile_plan(refused, failed, behind)).run
        assert (run[refused], run[failed], run[behind]) == (0, None, -1)
        assert run.outcome(skipped) == Skipped(because="broken", cause="failure")

    def test_an_outcome_is_passed_whatever_it_was(self) -> None:
        @layer
        async def skipped(number: int = use(broken)) -> int:
            return number

        @layer
        async def judge(
            good: Outcome[int] = use.outcome(five),
            bad: Outcome[int] = use.outcome(broken),
            none: Outcome[int] = use.outcome(skipped),
        ) -> tuple[Outcome[int], Outcome[int], Outcome[int]]:
            return good, bad, none

        good, bad, none = simulate(compile_plan(judge)).result
        assert good == Succeeded(5)
        assert isinstance(bad, Failed)
        assert isinstance(bad.error, ValueError)
        assert none == Skipped(because="broken", cause="failure")
        assert not isinstance(good, Cancelled)

    def test_one_artifact_may_fill_several_parameters(self) -> None:
        @layer(depends_on=[five, five])
        async def step(five: int, again: int = use(five), maybe: int = use(five, default=0)) -> tuple[int, int, int]:
            return five, again, maybe

        assert simulate(compile_plan(step)).result == (5, 5, 5)

    def test_an_artifact_of_none_is_an_artifact(self) -> None:
        @layer
        async def nothing() -> None: ...

        @layer
        async def step(value: object = use(nothing, default="default")) -> object:
            return value

        assert simulate(compile_plan(step)).result is None

    def test_every_condition_of_a_step_must_hold(self) -> None:
        @layer(depends_on=[when(five, lambda _: True), when(seven, lambda _: False)])
        async def step() -> None: ...

        assert simulate(compile_plan(step)).run.outcome(step) == Skipped(because="seven", cause="condition")


class TestFanOut:
    def test_other_parameters_are_the_same_for_each_item(self) -> None:
        @layer
        async def letters() -> list[str]:
            return ["a", "b"]

        @layer.each
        async def item(letter: str = each(letters), times: int = 2, *, number: int = use(five)) -> str:
            return letter * times + str(number)

        batch = simulate(compile_plan(item), {"times": 3}).result
        assert list(batch) == ["aaa5", "bbb5"]

    def test_a_chain_goes_item_by_item(self) -> None:
        @layer
        async def numbers() -> Iterable[int]:
            return range(3)

        @layer.each(on_error="continue")
        async def halved(number: int = each(numbers)) -> float:
            return 6 / number

        @layer.each(on_error="continue")
        async def text(value: float = each(halved)) -> str:
            return f"{value:g}"

        @layer
        async def total(texts: Batch[str] = use(text), halves: Batch[float] = use(halved)) -> tuple[int, int]:
            return len(texts), len(halves.failed)

        run = simulate(compile_plan(total)).run
        assert run[total] == (2, 1)
        assert dict(run[text].succeeded) == {1: "6", 2: "3"}

    def test_a_fan_out_over_nothing_is_an_empty_batch(self) -> None:
        @layer
        async def nothing() -> list[int]:
            return []

        @layer.each
        async def item(number: int = each(nothing)) -> int:
            return number

        run = simulate(compile_plan(item)).run
        assert (run.result.total, run.result.success_rate, run.ok) == (0, 1.0, True)

    def test_a_fan_out_over_what_cannot_be_iterated_fails_by_name(self) -> None:
        @layer
        async def number() -> Any:
            return 7

        @layer.each
        async def item(digit: int = loose.each(number)) -> int:
            return digit

        trace = simulate(compile_plan(item))
        assert isinstance(trace.error, TypeError)
        assert "item" in str(trace.error)


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

    def test_the_default_of_a_field_does_not_reach_a_run_by_keywords(self) -> None:
        @dataclass
        class Wanted:
            count: int = 100
            size: int = 100

        plan = compile_plan(number_sum, inputs=Wanted)

        assert simulate(plan, {"count": 1}).result == 2
        assert simulate(plan, Wanted()).result == 200

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
        unit: Any = graph.add_layer(namespace["step"])

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

"""How a parameter is bound: its marker, the builder, a name in `depends_on`, or else an input; never otherwise."""

from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import pytest

from fusynk import (
    Batch,
    Cancelled,
    Failed,
    Graph,
    Layer,
    Outcome,
    Skipped,
    Succeeded,
    compile_plan,
    current_step,
    each,
    layer,
    use,
    when,
)
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


class TestScopes:
    def test_a_misspelt_name_is_compared_with_those_of_the_same_function(self) -> None:
        @layer
        async def inventory() -> None: ...

        @layer(depends_on="inventry")
        async def pay() -> None: ...

        with pytest.raises(InvalidPlan) as caught:
            compile_plan(pay, inventory)
        assert "Did you mean 'inventory'?" in str(caught.value)

    def test_an_inner_name_goes_before_an_outer_one(self) -> None:
        @layer
        async def five() -> str:
            return "inner"

        @layer(depends_on="five")
        async def step(five: str) -> str:
            return five

        assert simulate(compile_plan(step)).result == "inner"
        assert five is not globals()["five"]

    def test_a_name_of_another_function_is_not_found(self) -> None:
        def elsewhere() -> Layer[[], object, None]:
            @layer
            async def hidden() -> None: ...

            return hidden

        kept = elsewhere()

        @layer(depends_on="hidden")
        async def step() -> None: ...

        with pytest.raises(InvalidPlan) as caught:
            compile_plan(step, kept)
        assert "'hidden', which nothing declares" in str(caught.value)


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

    def test_two_conditions_on_one_source_must_both_hold(self) -> None:
        @layer(depends_on=[when(five, lambda number: number > 9), when(five, bool), five])
        async def first() -> None: ...

        @layer(depends_on=[five, when(five, bool), when(five, lambda number: number > 9)])
        async def last(five: int) -> int:
            return five

        run = simulate(compile_plan(first, last)).run
        assert run.outcome(first) == run.outcome(last) == Skipped(because="five", cause="condition")


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

    def test_an_item_of_a_chain_does_not_wait_for_the_other_items(self) -> None:
        started: dict[str, float] = {}

        @layer
        async def seconds() -> list[int]:
            return [9, 1]

        @layer.each
        async def waited(number: int = each(seconds)) -> int:
            await anyio.sleep(number)
            return number

        @layer.each
        async def noted(number: int = each(waited)) -> int:
            started[current_step().name] = anyio.current_time()
            return number

        trace = simulate(compile_plan(noted))

        assert started == {"noted[0]": 9, "noted[1]": 1}
        assert list(trace.result) == [9, 1]

    def test_a_fan_out_over_nothing_is_an_empty_batch(self) -> None:
        @layer
        async def nothing() -> list[int]:
            return []

        @layer.each
        async def item(number: int = each(nothing)) -> int:
            return number

        run = simulate(compile_plan(item)).run
        assert (run.result.total, run.result.success_rate, run.ok) == (0, 1.0, True)

    def test_batches_are_compared_by_what_they_hold(self) -> None:
        error = ValueError()

        batch = Batch({1: "b", 0: "a"}, {2: error})

        assert batch == Batch({0: "a", 1: "b"}, {2: error})
        assert batch != Batch({0: "a", 1: "b"})
        assert batch != ["a", "b"]
        assert (list(batch), repr(batch)) == (["a", "b"], "<Batch 2 of 3 succeeded>")
        with pytest.raises(TypeError, match="unhashable"):
            hash(batch)

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

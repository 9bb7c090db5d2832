"""Processes: the run mode orders the members, their own edges hold too, and a failed member fails its process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from fusynk import Cancelled, Failed, Graph, Layer, Outcome, Skipped, Succeeded, compile_plan, layer, use, when
from fusynk.errors import InvalidDeclaration, InvalidPlan
from fusynk.testing import Trace, simulate
from tests import loose

Member = Layer[..., Any, Any]


@dataclass
class Bench:
    """Members that take a second each, unless said otherwise, and note when they run."""

    graph: Graph = field(default_factory=lambda: Graph("bench"))
    started: dict[str, float] = field(default_factory=dict[str, float])
    ended: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, seconds: float = 1, error: Exception | None = None, **options: Any) -> Member:
        async def body() -> str:
            self.started[name] = anyio.current_time()
            await anyio.sleep(seconds)
            self.ended[name] = anyio.current_time()
            if error is not None:
                raise error
            return name.upper()

        return self.graph.add_layer(body, name=name, **options)

    def members(self, names: str = "abcd", **options: Any) -> list[Member]:
        return [self.add(name, **options) for name in names]

    def loosely(self, *members: Any, **options: Any) -> Any:
        """Groups members by options that a type checker does not know."""
        unchecked: Any = self.graph.process
        return unchecked(*members, **options)

    def run(self, *targets: Member, **options: Any) -> Trace[Any]:
        return simulate(loose.compile_plan(*targets), **options)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "options", "starts"),
        [
            ("parallel", {}, [0, 0, 0, 0, 0]),
            ("sequential", {}, [0, 1, 2, 3, 4]),
            ("batched", {}, [0, 0, 1, 1, 2]),
            ("batched", {"size": 3}, [0, 0, 0, 1, 1]),
            ("batched", {"size": 9}, [0, 0, 0, 0, 0]),
            ("batched", {"size": 1}, [0, 1, 2, 3, 4]),
            ("isolated", {"delay": 2}, [0, 3, 6, 9, 12]),
            ("isolated", {"delay": 0}, [0, 1, 2, 3, 4]),
        ],
    )
    def test_members_start_when_their_mode_lets_them(
        self, bench: Bench, mode: str, options: Mapping[str, float], starts: Sequence[float], backend: str
    ) -> None:
        group = bench.loosely("group", *bench.members("abcde"), mode=mode, **options)

        trace = bench.run(group, backend=backend)

        base = min(bench.started.values())
        assert [bench.started[name] - base for name in "abcde"] == starts
        assert trace.result == {name: name.upper() for name in "abcde"}
        assert trace.seconds == max(starts) + 1

    def test_isolated_waits_a_tenth_of_a_second_unless_told(self, bench: Bench) -> None:
        bench.run(bench.graph.process("group", *bench.members("ab"), mode="isolated"))

        assert bench.started["b"] == pytest.approx(1.1)

    def test_a_batch_waits_for_the_slowest_of_the_one_before(self, bench: Bench) -> None:
        members = [bench.add("a", 1), bench.add("b", 9), bench.add("c", 1), bench.add("d", 1)]

        bench.run(bench.graph.process("group", *members, mode="batched", size=2))

        assert (bench.started["c"], bench.started["d"]) == (9, 9)

    def test_the_list_is_the_order_whatever_the_declaration(self, bench: Bench) -> None:
        a, b, c = bench.members("abc")

        bench.run(bench.graph.process("group", c, a, b, mode="sequential"))

        assert sorted(bench.started, key=lambda name: bench.started[name]) == ["c", "a", "b"]

    def test_priority_does_not_break_the_mode(self, bench: Bench) -> None:
        members = [bench.add("a", priority=0), bench.add("b", priority=9)]

        bench.run(bench.graph.process("group", *members, mode="sequential"))

        assert (bench.started["a"], bench.started["b"]) == (0, 1)

    def test_the_delay_is_waited_without_a_slot(self, bench: Bench) -> None:
        group = bench.graph.process("group", *bench.members("ab"), mode="isolated", delay=5)
        other = bench.add("other", seconds=4)

        simulate(compile_plan(group, other, concurrency=1))

        assert bench.started == {"a": 0, "other": 1, "b": 6}

    def test_a_mode_orders_members_only(self, bench: Bench) -> None:
        free = bench.add("free", seconds=3)
        a = bench.add("a")
        b = bench.add("b", depends_on=free)

        bench.run(bench.graph.process("group", a, b, mode="sequential"))

        assert bench.started == {"free": 0, "a": 0, "b": 3}

    def test_edges_between_members_hold_in_every_mode(self, bench: Bench) -> None:
        a = bench.add("a")
        b = bench.add("b", depends_on=a)
        c = bench.add("c")

        bench.run(bench.graph.process("group", a, b, c))

        assert bench.started == {"a": 0, "c": 0, "b": 1}


class TestNested:
    def test_a_process_is_a_member_as_a_whole(self, bench: Bench) -> None:
        a, b, c, d, e = bench.members("abcde")
        first = bench.graph.process("first", a, b, mode="parallel")
        second = bench.graph.process("second", c, d, mode="sequential")

        trace = bench.run(bench.graph.process("outer", first, second, e, mode="sequential"))

        assert bench.started == {"a": 0, "b": 0, "c": 1, "d": 2, "e": 3}
        assert trace.result == {"first": {"a": "A", "b": "B"}, "second": {"c": "C", "d": "D"}, "e": "E"}

    def test_what_a_member_needs_from_outside_runs_at_once(self, bench: Bench) -> None:
        outside = bench.add("outside")
        a = bench.add("a", seconds=5)
        b = bench.add("b", depends_on=outside)
        inner = bench.graph.process("inner", b)

        bench.run(bench.graph.process("outer", a, inner, mode="sequential"))

        assert bench.started == {"outside": 0, "a": 0, "b": 5}

    def test_members_may_belong_to_two_processes(self, bench: Bench) -> None:
        a, b, c = bench.members("abc")
        one = bench.graph.process("one", a, b, mode="sequential")
        other = bench.graph.process("other", b, c, mode="sequential")

        trace = bench.run(one, other)

        assert bench.started == {"a": 0, "b": 1, "c": 2}
        assert trace.result == ({"a": "A", "b": "B"}, {"b": "B", "c": "C"})

    def test_a_process_of_processes_of_nothing_is_empty(self, bench: Bench) -> None:
        outer = bench.graph.process(
            "outer", bench.graph.process("one"), bench.graph.process("other", mode="sequential"), mode="sequential"
        )

        assert simulate(compile_plan(outer)).result == {"one": {}, "other": {}}


class TestFunction:
    def test_the_function_runs_last_and_uses_members(self, bench: Bench) -> None:
        a, b = bench.members("ab")

        @bench.graph.process(a, b, mode="sequential")
        async def total(first: str = use(a), number: int = 3) -> tuple[str, int, float]:
            return first, number, anyio.current_time()

        assert bench.run(total).result == ("A", 3, 2.0)

    def test_the_function_may_use_units_that_are_no_members(self, bench: Bench) -> None:
        a, outside = bench.add("a"), bench.add("outside", seconds=3)

        @bench.graph.process(a)
        async def total(other: str = use(outside)) -> str:
            return other

        assert bench.run(total).result == "OUTSIDE"

    def test_a_plain_function_serves_too(self, bench: Bench) -> None:
        a = bench.add("a")

        @bench.graph.process(a)
        def shout(word: str = use(a)) -> str:
            return word + "!"

        assert bench.run(shout).result == "A!"

    def test_members_are_found_by_name_in_the_functions_depends_on(self, bench: Bench) -> None:
        a = bench.add("a")

        @bench.graph.process(a, depends_on=[a])
        async def named(a: str) -> str:
            return a

        assert bench.run(named).result == "A"

    def test_a_process_is_a_source_like_any_unit(self, bench: Bench) -> None:
        group = bench.graph.process("group", *bench.members("ab"))

        @layer
        async def count(parts: Mapping[str, object] = use(group)) -> int:
            return len(parts)

        assert bench.run(count).result == 2


class TestFailures:
    @pytest.mark.parametrize("mode", ["parallel", "sequential", "batched", "isolated"])
    def test_a_failed_member_fails_its_process_and_the_others_run(self, bench: Bench, mode: str) -> None:
        error = ValueError("b")
        members = [bench.add("a"), bench.add("b", error=error, on_error="continue"), bench.add("c"), bench.add("d")]

        trace = bench.run(bench.loosely("group", *members, mode=mode))

        assert trace.error is error
        assert trace.run.outcome("group") == Failed(error)
        assert [type(trace.run.outcome(name)) for name in "abcd"] == [Succeeded, Failed, Succeeded, Succeeded]

    def test_the_function_is_not_called_after_a_failed_member(self, bench: Bench) -> None:
        called: list[str] = []
        a = bench.add("a")
        b = bench.add("b", error=ValueError("b"), on_error="continue")

        @bench.graph.process(a, b, on_error="continue")
        async def total(first: str = use(a)) -> None:
            called.append(first)

        trace = bench.run(total)

        assert called == []
        assert list(trace.run.failures) == ["b", "total"]
        assert trace.run.status == "failed"

    def test_a_function_that_uses_the_failed_member_fails_with_it(self, bench: Bench) -> None:
        error = ValueError("a")
        a = bench.add("a", error=error, on_error="continue")

        @bench.graph.process(a)
        async def total(first: str = use(a)) -> str:
            return first

        trace = bench.run(total)

        assert trace.error is error
        assert trace.run.outcome(total) == Failed(error)

    def test_the_process_fails_by_its_own_policy(self, bench: Bench) -> None:
        members = [bench.add("a", error=ValueError("a"), on_error="continue")]
        group = bench.graph.process("group", *members, on_error=lambda error: f"instead of {error}")

        @layer
        async def after(parts: object = use(group)) -> object:
            return parts

        assert bench.run(after).result == "instead of a"

    def test_dependents_of_a_failed_process_are_told(self, bench: Bench) -> None:
        group = bench.graph.process(
            "group", bench.add("a", error=ValueError("a"), on_error="continue"), on_error="continue"
        )

        @layer
        async def after(parts: object = use(group)) -> object:
            return parts

        assert bench.run(after).run.outcome(after) == Skipped(because="group", cause="failure")

    def test_a_member_that_aborts_ends_the_run(self, bench: Bench) -> None:
        group = bench.graph.process(
            "group", bench.add("a", error=ValueError("a")), *bench.members("bc"), mode="sequential"
        )

        trace = bench.run(group)

        assert isinstance(trace.error, ValueError)
        assert trace.run.outcome("b") == Cancelled(by="abort")
        assert "b" not in bench.started

    def test_a_function_may_take_a_failed_members_default(self, bench: Bench) -> None:
        a = bench.add("a", error=ValueError("a"), on_error="continue")

        @bench.graph.process(a, on_error="continue")
        async def total(first: str = use(a, default="none")) -> str:
            return first

        trace = bench.run(total)
        assert trace.result == "none"
        assert not trace.run.ok

    def test_a_function_may_look_at_the_outcome_of_a_failed_member(self, bench: Bench) -> None:
        a = bench.add("a", error=ValueError("a"), on_error="continue")

        @bench.graph.process(a)
        async def total(ended: Outcome[object] = use.outcome(a)) -> str:
            return type(ended).__name__

        assert bench.run(total).result == "Failed"

    def test_a_member_skipped_by_a_condition_leaves_a_gap(self, bench: Bench) -> None:
        a = bench.add("a")
        b = bench.add("b", depends_on=when(a, lambda word: word == "B"))
        c = bench.add("c")

        trace = bench.run(bench.graph.process("group", a, b, c, mode="sequential"))

        assert trace.result == {"a": "A", "c": "C"}
        assert bench.started == {"a": 0, "c": 1}

    def test_a_member_that_failed_still_lets_the_next_one_start(self, bench: Bench) -> None:
        a = bench.add("a", error=ValueError("a"), on_error="continue")
        b = bench.add("b", depends_on=when(a, bool))
        c = bench.add("c")

        trace = bench.run(bench.graph.process("group", a, b, c, mode="sequential", on_error="continue"))

        assert trace.run.outcome("b") == Skipped(because="a", cause="failure")
        assert bench.started["c"] == 1


class TestRefused:
    @pytest.mark.parametrize("mode", ["sequential", "batched", "isolated"])
    def test_a_mode_against_the_members_own_edges(self, bench: Bench, mode: str) -> None:
        a = bench.add("a")
        b = bench.add("b", depends_on=a)
        group = bench.loosely("group", b, a, mode=mode, size=1)

        with pytest.raises(InvalidPlan) as caught:
            compile_plan(group)

        said = str(caught.value)
        assert "ModeContradiction: 'group'" in said
        assert f"mode={mode!r}" in said
        assert "a -> b -> a" in said

    def test_the_same_edges_pass_in_parallel_and_in_one_batch(self, bench: Bench) -> None:
        a = bench.add("a")
        b = bench.add("b", depends_on=a)

        bench.run(bench.graph.process("group", b, a))
        bench.run(bench.graph.process("batch", b, a, mode="batched", size=2))

        assert bench.started == {"a": 0, "b": 1}

    def test_two_modes_against_each_other(self, bench: Bench) -> None:
        a, b = bench.members("ab")
        one = bench.graph.process("one", a, b, mode="sequential")
        other = bench.graph.process("other", b, a, mode="sequential")

        with pytest.raises(InvalidPlan, match="The plan has 1 fault") as caught:
            compile_plan(one, other)
        assert "ModeContradiction" in str(caught.value)

    def test_a_member_listed_twice(self, bench: Bench) -> None:
        a = bench.add("a")

        with pytest.raises((InvalidPlan, InvalidDeclaration)) as caught:
            compile_plan(bench.graph.process("group", a, a))
        assert "'a' twice" in str(caught.value)

    @pytest.mark.parametrize("member", [7, "a", None, print, [1]])
    def test_a_member_that_is_no_unit(self, member: object) -> None:
        with pytest.raises(InvalidDeclaration, match="takes units as members"):
            loose.process("group", member)

"""Random plans of everything the DSL has, and the ways in which their runs end, for laws that hold of any run."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

import anyio
from hypothesis import strategies as st

from fusynk import Graph, Limit, Plan, Run, compile_plan, each, milestone, use, when
from fusynk.handle import RunHandle

Kind = Literal["body", "inline", "resource", "undoable", "limited", "fan-out", "chain", "process", "nested"]
Edge = Literal["use", "order", "default", "outcome"]
Test = Literal["", "accept", "refuse", "raise"]
Mode = Literal["parallel", "sequential", "batched", "isolated"]


class Mishap(Exception):
    """What fails in a scene."""


@dataclass(frozen=True)
class Part:
    """One step of a scene, or a few that belong together."""

    kind: Kind
    after: tuple[int, ...] = ()  # earlier parts
    edge: Edge = "use"
    test: Test = ""
    seconds: float = 0.0
    failures: int = 0  # so many first attempts fail
    retries: int = 0
    retry_delay: float = 0.0
    timeout: float | None = None
    on_error: Literal["continue", "abort", "recover"] = "continue"
    count: int = 2  # items or members
    falls: bool = False  # whether its teardown or compensation fails
    mode: Mode = "parallel"


@dataclass(frozen=True)
class Scene:
    """A plan, and how its run is ended."""

    parts: tuple[Part, ...]
    concurrency: int = 4
    deadline: float | None = None
    cancel_at: float | None = None
    cancel_by: Literal["handle", "scope"] = "handle"


@st.composite
def _parts(draw: st.DrawFn, number: int, seconds: st.SearchStrategy[float]) -> Part:
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    return Part(
        kind=kind,
        after=tuple(draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True))) if number else (),
        edge=draw(st.sampled_from(get_args(Edge))),
        test=draw(st.sampled_from(("", "", "", "accept", "refuse", "raise"))),
        seconds=draw(seconds),
        failures=draw(st.sampled_from((0, 0, 0, 1, 2, 9))),
        retries=draw(st.integers(0, 2)),
        retry_delay=draw(seconds),
        timeout=None if kind == "inline" else draw(st.sampled_from((None, None, None, 0.75))),
        on_error=draw(st.sampled_from(("continue", "continue", "recover", "abort"))),
        count=draw(st.integers(0, 3)),
        falls=draw(st.booleans()),
        mode=draw(st.sampled_from(get_args(Mode))),
    )


@st.composite
def scenes(draw: st.DrawFn, *, instant: bool = False, largest: int = 7) -> Scene:
    """Scenes that shrink to few plain steps.

    Args:
        draw: Given by hypothesis.
        instant: Whether nothing ever waits, for runs in real time.
        largest: How many parts a scene has at most.
    """
    seconds = st.just(0.0) if instant else st.sampled_from((0.0, 0.0, 0.0, 0.5, 1.0, 2.0))
    moments = st.none() if instant else st.sampled_from((None, None, 0.25, 0.5, 1.0, 1.25, 3.0))
    return Scene(
        parts=tuple([draw(_parts(number, seconds)) for number in range(draw(st.integers(1, largest)))]),
        concurrency=draw(st.integers(1, 4)),
        deadline=draw(moments),
        cancel_at=draw(moments),
        cancel_by=draw(st.sampled_from(("handle", "scope"))),
    )


class Stage:
    """The plan of a scene."""

    def __init__(self, scene: Scene) -> None:
        self._graph: Any = Graph("scene")  # its options are drawn, so no checker can know them
        self._limit = Limit("turnstile", concurrency=1)
        self._units: list[Any] = []
        self._calls: dict[str, int] = {}
        for number, part in enumerate(scene.parts):
            self._units.append(self._build(f"p{number}", part))
        self.plan: Plan[Any, Any] = compile_plan(
            self._graph, concurrency=scene.concurrency, deadline=scene.deadline, run_id="scene", seed=0
        )

    def _note_call(self, part: Part, name: str) -> None:
        attempt = self._calls[name] = self._calls.get(name, 0) + 1
        milestone("called", attempt=attempt)
        if attempt <= part.failures:
            raise Mishap(name)

    async def _work(self, part: Part, name: str) -> str:
        """Be a body: wait, and fail as often as one is told."""
        if part.seconds:
            await anyio.sleep(part.seconds)
        self._note_call(part, name)
        return name

    def _edges(self, part: Part) -> tuple[Any, list[Any]]:
        """The marker of a body's parameter, and what the step depends on beyond that."""
        if not part.after:
            return "given", []
        first, *rest = [self._units[source] for source in part.after]
        test = partial(_judge, part.test) if part.test else None
        condition: dict[str, Any] = {"when": test} if test else {}
        match part.edge:
            case "outcome":
                return use.outcome(first), rest
            case "order":
                return "given", [when(first, test) if test else first, *rest]
            case "default":
                return use(first, default="default", **condition), rest
            case "use":
                return use(first, **condition), rest

    def _build(self, name: str, part: Part) -> Any:
        given, depends_on = self._edges(part)
        if part.kind == "process":
            return self._process(name, part, given, depends_on)
        if part.kind in {"fan-out", "chain"}:
            return self._fan_out(name, part, given, depends_on)
        kinds = {"inline": self._inline, "resource": self._resource, "nested": self._nested}
        function = kinds.get(part.kind, self._body)(name, part, given)
        options = {**_policy(part), **self._extra(part)}
        return self._graph.layer(name=name, depends_on=depends_on, **options)(function)

    def _extra(self, part: Part) -> dict[str, Any]:
        async def undo(artifact: object) -> None:
            await anyio.sleep(part.seconds)
            _fall(part)

        extras: dict[Kind, dict[str, Any]] = {
            "inline": {"run_in": "inline"},
            "limited": {"limit": self._limit},
            "undoable": {"compensate": undo},
        }
        return extras.get(part.kind, {})

    def _body(self, name: str, part: Part, given: Any) -> Any:
        async def body(given: Any = given) -> str:
            return await self._work(part, name)

        return body

    def _inline(self, name: str, part: Part, given: Any) -> Any:
        def inline(given: Any = given) -> str:
            self._note_call(part, name)
            return name

        return inline

    def _resource(self, name: str, part: Part, given: Any) -> Any:
        async def resource(given: Any = given) -> AsyncIterator[str]:
            yield await self._work(part, name)
            await anyio.sleep(part.seconds)
            _fall(part)

        return resource

    def _nested(self, name: str, part: Part, given: Any) -> Any:
        graph: Any = Graph("inner")
        inner = cast("Plan[None, str]", compile_plan(graph.layer(name="within")(self._body(name, part, "given"))))

        async def nested(given: Any = given) -> str:
            return (await inner.run()).result

        return nested

    def _fan_out(self, name: str, part: Part, given: Any, depends_on: list[Any]) -> Any:
        async def numbers(given: Any = given) -> list[int]:
            return list(range(part.count))

        async def item(number: int = each(self._graph.layer(name=f"{name}-of", depends_on=depends_on)(numbers))) -> int:
            await self._work(part, f"{name}[{number}]" if number else name)
            return number

        options = {**_policy(part), "on_error": "abort" if part.on_error == "abort" else "continue"}
        spread = self._graph.layer.each(name=name, **options)(item)
        if part.kind == "chain":

            async def link(number: int = each(spread)) -> int:
                await self._work(part, f"{name}-on")
                return number

            self._graph.layer.each(name=f"{name}-on", **options)(link)
        return spread

    def _process(self, name: str, part: Part, given: Any, depends_on: list[Any]) -> Any:
        options = {**_policy(part), "on_error": "continue"}
        members = [
            self._graph.layer(name=member, depends_on=depends_on, **options)(self._body(member, part, given))
            for member in [f"{name}-{number}" for number in range(part.count + 1)]
        ]
        extras: dict[Mode, dict[str, Any]] = {"isolated": {"delay": 0.5}, "batched": {"size": 2}}
        extra: dict[str, Any] = {"on_error": "abort" if part.on_error == "abort" else "continue"}
        return self._graph.process(name, *members, mode=part.mode, **extra, **extras.get(part.mode, {}))


def _policy(part: Part) -> dict[str, Any]:
    return {
        "retries": part.retries,
        "retry_delay": part.retry_delay,
        "timeout": part.timeout,
        "on_error": _recover if part.on_error == "recover" else part.on_error,
    }


def _recover(_error: Exception) -> str:
    return "recovered"


def _judge(test: Test, _artifact: object) -> bool:
    if test == "raise":
        raise Mishap("condition")
    return test == "accept"


def _fall(part: Part) -> None:
    if part.falls:
        raise Mishap("afterwards")


async def play(plan: Plan[Any, Any], scene: Scene, watch: Callable[[RunHandle[Any]], object]) -> Run[Any]:
    """Run a plan, end it as the scene says, and return the run whatever became of it.

    Args:
        plan: The plan of the scene, perhaps with subscribers.
        scene: How the run is ended.
        watch: Called with the handle before anything has happened.
    """
    handle: RunHandle[Any] | None = None
    with anyio.CancelScope() as scope:
        async with plan.start() as handle:
            watch(handle)
            await _end(handle, scene, scope)
    assert handle is not None
    assert handle._runner is not None
    return plan._ended(handle._runner)


async def _end(handle: RunHandle[Any], scene: Scene, scope: anyio.CancelScope) -> None:
    """Wait for a run, and cancel it when the scene says so."""
    if scene.cancel_at is not None and scene.cancel_by == "scope":
        scope.deadline = anyio.current_time() + scene.cancel_at
    elif scene.cancel_at is not None:
        with suppress(Exception), anyio.move_on_after(scene.cancel_at):
            await handle.wait()
        handle.cancel()
    with suppress(Exception):
        await handle.wait()

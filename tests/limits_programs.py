"""Random programs: several plans that share limits, with steps of every kind, begun and ended at odd times."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
from hypothesis import strategies as st

from fusynk import Graph, Limit, Plan, compile_plan, current_step, each, errors
from fusynk.executors.threads import InlineExecutor
from tests.limiting import PATIENCE, Account, all_of, assert_whole, compute

KINDS = ("async", "async", "async", "thread", "inline", "items", "resource", "nested")
SECONDS = (0.0, 0.0, 0.1, 0.3, 1 / 3, 0.25, 1.0, 2.7, 1e-9)
RATES = ("1/0.1s", "2/0.3s", "3/0.7s", "2/1s", "4/333ms", "1/7ms", "3/1s")


class Fault(Exception):
    """What a body of these programs raises."""


def crunch() -> tuple[float, float]:
    """Take a moment, in an OS process, and tell when."""
    begun = time.monotonic()
    time.sleep(0.02)
    return begun, time.monotonic()


def hang() -> None:
    """Never end, in an OS process."""
    time.sleep(3600)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: of which kind and limit, how long its body takes, how often it fails and what happens then."""

    kind: str
    limit: Limit | None
    weight: int
    seconds: float
    computes: float
    tidies: float
    failures: int
    retries: int
    delay: float
    hook: str
    timeout: float | None
    priority: int
    follows: bool


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run: its steps, its room, when it begins and how it is ended, if it is."""

    steps: tuple[Step, ...]
    concurrency: int
    threads: int
    discipline: str
    on_error: str
    begins: float
    way: str
    after: float


@dataclass(frozen=True, kw_only=True)
class Program:
    """Runs beside each other, and what they share."""

    limits: tuple[Limit, ...]
    parts: tuple[Part, ...]


def limits(name: str) -> st.SearchStrategy[Limit]:
    """A limit of some concurrency, some rate, or both."""
    concurrency = st.one_of(st.none(), st.integers(1, 4))
    both = st.tuples(concurrency, st.one_of(st.none(), st.sampled_from(RATES)))
    return both.filter(any).map(lambda pair: Limit(name, concurrency=pair[0], rate=pair[1]))


@st.composite
def steps(draw: st.DrawFn, shared: tuple[Limit, ...]) -> Step:
    """One step of a random program."""
    limit = draw(st.sampled_from([*shared, *shared, None]))
    kind = draw(st.sampled_from(KINDS))
    heaviest = 1 if limit is None else limit.concurrency or 1
    return Step(
        kind=kind,
        limit=limit,
        weight=draw(st.integers(1, heaviest)),
        seconds=draw(st.sampled_from(SECONDS)),
        computes=draw(st.sampled_from((0.0, 0.0, 0.001, 0.004, 0.1))),
        tidies=draw(st.sampled_from((0.0, 0.0, 0.0, 1.5))),
        failures=draw(st.sampled_from((0, 0, 0, 1, 2))),
        retries=draw(st.sampled_from((0, 1, 2))),
        delay=draw(st.sampled_from((0.0, 0.1, 0.2))),
        hook=draw(st.sampled_from(("", "", "", "ponders", "nests"))),
        timeout=draw(st.sampled_from((None, None, 0.2, 0.5))) if kind in {"async", "nested", "items"} else None,
        priority=draw(st.integers(0, 1)),
        follows=draw(st.booleans()),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A random program. Where there are resources nobody computes: their setup begins a turn after they start."""
    shared = (draw(limits("a")), draw(limits("b")))
    parts = draw(
        st.lists(
            st.builds(
                Part,
                steps=st.lists(steps(shared), min_size=1, max_size=6).map(tuple),
                concurrency=st.integers(1, 4),
                threads=st.integers(1, 2),
                discipline=st.sampled_from(("fifo", "lifo")),
                on_error=st.sampled_from(("continue", "abort")),
                begins=st.sampled_from((0.0, 0.0, 0.1, 0.5, 1.0)),
                way=st.sampled_from(("", "", "scope", "handle", "deadline")),
                after=st.sampled_from((0.1, 0.3, 0.8, 1.7)),
            ),
            min_size=1,
            max_size=4,
        )
    )
    program = Program(limits=shared, parts=tuple(parts))
    if any(step.kind == "resource" for part in parts for step in part.steps):
        return _without_computing(program)
    return program


def _without_computing(program: Program) -> Program:
    parts = [replace(part, steps=tuple(replace(step, computes=0.0) for step in part.steps)) for part in program.parts]
    return replace(program, parts=tuple(parts))


async def carry_out(program: Program) -> None:
    """Run a program and hold it against the laws."""
    account = Account()
    with anyio.fail_after(PATIENCE):
        await all_of(*(partial(_carry_out_part, part, account) for part in program.parts))
    assert not account.broken_laws(), account.broken_laws()
    for limit in program.limits:
        await assert_whole(limit)


async def _carry_out_part(part: Part, account: Account) -> None:
    plan = plan_for(part, account)
    await anyio.sleep(part.begins)
    ways: dict[str, Callable[[Plan[None, Any], float], Awaitable[object]]] = {
        "": _to_its_end,
        "deadline": _to_its_end,
        "scope": _cut_by_a_scope,
        "handle": _cut_by_its_handle,
    }
    await ways[part.way](plan, part.after)


async def _to_its_end(plan: Plan[None, Any], _after: float) -> None:
    try:
        run = await plan.run()
    except (Fault, TimeoutError):
        return
    assert len(run.outcomes) == len(plan.order)


async def _cut_by_a_scope(plan: Plan[None, Any], after: float) -> None:
    with anyio.move_on_after(after):
        await _to_its_end(plan, after)


async def _cut_by_its_handle(plan: Plan[None, Any], after: float) -> None:
    async with plan.start() as handle:
        await anyio.sleep(after)
        handle.cancel()
        try:
            await handle.wait()
        except (Fault, TimeoutError, errors.RunCancelled):
            return


def plan_for(part: Part, account: Account) -> Plan[None, Any]:
    """The plan of a part, whose bodies keep account."""
    graph, former = Graph("part"), list[Any]()
    for number, step in enumerate(part.steps):
        former = [_add(graph, f"s{number}", step, former if step.follows else [], account)]
    options: Any = {
        "concurrency": part.concurrency,
        "threads": part.threads,
        "discipline": part.discipline,
        "on_error": part.on_error,
        "deadline": part.after if part.way == "deadline" else None,
        "executor": InlineExecutor(),
        "grace": 1000,
    }
    return compile_plan(graph, **options)


def _add(graph: Graph, name: str, step: Step, depends_on: list[Any], account: Account) -> Any:
    given: dict[str, Any] = {
        "name": name,
        "depends_on": depends_on,
        "retries": step.retries,
        "retry_delay": step.delay,
        "timeout": step.timeout,
        "priority": step.priority,
    }
    if step.hook:
        given["on_error"] = _hook(step, account)
    if step.limit is not None:
        given["limit"] = step.limit
        if step.limit.concurrency is not None:
            given["weight"] = step.weight
    if step.kind == "items":
        return _add_items(graph, given, step, account)
    if step.kind == "inline":
        given["run_in"] = "inline"
    return graph.add_layer(_function(step, account), **given)


def _hook(step: Step, account: Account) -> Callable[[Exception], Awaitable[None]]:
    """What is asked when a step has failed: its slot is taken meanwhile, its permit is not."""
    plan = _inner_plan(step, account)

    async def hook(_error: Exception) -> None:
        await anyio.sleep(0.7)
        if step.hook == "nests":
            await plan.run()

    return hook


def _inner_plan(step: Step, account: Account) -> Plan[None, Any]:
    """Three light steps of the limit that another step has."""
    inner = Graph("inner")
    for number in range(3):
        light = replace(step, kind="async", weight=1, failures=0, timeout=None, retries=0, hook="", follows=False)
        _add(inner, f"s{number}", light, [], account)
    return compile_plan(inner, concurrency=2, executor=InlineExecutor())


def _add_items(graph: Graph, given: dict[str, Any], step: Step, account: Account) -> Any:
    async def numbers() -> list[int]:
        return [0, 1, 2]

    body = _function(replace(step, kind="async"), account)

    async def item(_number: int) -> None:
        await body()

    item.__defaults__ = (each(graph.add_layer(numbers, name=f"numbers of {given['name']}")),)
    return graph.layer.each(**given)(item)


def _function(step: Step, account: Account) -> Callable[[], Any]:
    functions = {"thread": _plain, "inline": _plain, "resource": _resource, "nested": _nested}
    return functions.get(step.kind, _coroutine)(step, account)


def _fail_or_not(step: Step) -> None:
    if current_step().attempt <= step.failures:
        raise Fault


def _plain(step: Step, account: Account) -> Callable[[], Any]:
    def plain() -> None:
        with account.body(step.limit, step.weight):
            compute(step.computes)
            _fail_or_not(step)

    return plain


def _coroutine(step: Step, account: Account) -> Callable[[], Any]:
    async def coroutine() -> None:
        with account.body(step.limit, step.weight):
            compute(step.computes)
            try:
                if step.seconds:
                    await anyio.sleep(step.seconds)
            finally:
                await _tidy(step.tidies)
            _fail_or_not(step)

    return coroutine


async def _tidy(seconds: float) -> None:
    if seconds:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)


def _resource(step: Step, account: Account) -> Callable[[], Any]:
    plan = _inner_plan(step, account)

    async def resource() -> AsyncIterator[None]:
        with account.body(step.limit, step.weight):
            await anyio.sleep(step.seconds)
            _fail_or_not(step)
        try:
            yield
        finally:
            await anyio.sleep(step.tidies)
            if step.hook == "nests":
                await plan.run()

    return resource


def _nested(step: Step, account: Account) -> Callable[[], Any]:
    plan = _inner_plan(step, account)

    async def nested() -> None:
        with account.body(step.limit, step.weight):
            _fail_or_not(step)
            with account.lending(step.limit, step.weight):
                await plan.run()

    return nested

"""`run_items`: one function over many items, inside a body or outside, and not one of them lost."""

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, overload

from typing_extensions import TypeVar

from fusynk._core.batch import Batch
from fusynk._core.callables import is_coroutine_function, is_generator_function, takes_positional
from fusynk._core.compiler import compile_wiring
from fusynk._core.current import RUN, STEP
from fusynk._core.declare import Graph
from fusynk._core.limits import Limit
from fusynk._core.markers import each
from fusynk._core.model import Status
from fusynk._core.options import LayerOptions, PlanSettings, RetryDelay, RetryOn, plan_settings
from fusynk._core.program import Program, build_program
from fusynk._core.wiring import Body
from fusynk._instruments import new_runner
from fusynk._runtime.runner import Runner
from fusynk.blame import blame, undone_notes
from fusynk.errors import DuplicateKey, InvalidDeclaration, InvalidItems, InvalidOption, shown
from fusynk.executors.threads import ThreadExecutor
from fusynk.run import Run, Shape

if TYPE_CHECKING:
    from fusynk._core.watched import WatchedScheduler

T = TypeVar("T")
A = TypeVar("A")

_BATCH = "__fusynk_batch__"


PROGRESS = "progress"  # the name of the milestone that tells how far the items of a step are


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch has come, told after each item that succeeded or failed for good.

    Attributes:
        done: How many items have ended.
        total: How many there are.
        succeeded: How many have succeeded.
        failed: How many have failed.
        percentage: The share of items that have ended, 0.0 to 100.0.
        key: The key of the item that ended last.
        error: Its error, or `None` if it succeeded.
    """

    done: int
    total: int
    succeeded: int
    failed: int
    percentage: float
    key: Hashable
    error: BaseException | None


@overload
async def run_items(
    items: Iterable[T],
    function: Callable[[T], Awaitable[A]],
    *,
    retries: int = 0,
    retry_delay: RetryDelay = 0.0,
    retry_on: RetryOn = Exception,
    timeout: float | None = None,  # noqa: ASYNC109 - of each attempt, not of the call
    concurrency: int = 8,
    limit: Limit | None = None,
    weight: int = 1,
    on_progress: Callable[[Progress], object] | None = None,
    key: Callable[[T], Hashable] | None = None,
) -> Batch[A]: ...
@overload
async def run_items(
    items: Iterable[T],
    function: Callable[[T], A],
    *,
    retries: int = 0,
    retry_delay: RetryDelay = 0.0,
    retry_on: RetryOn = Exception,
    timeout: None = None,  # noqa: ASYNC109 - as above
    concurrency: int = 8,
    limit: Limit | None = None,
    weight: int = 1,
    on_progress: Callable[[Progress], object] | None = None,
    key: Callable[[T], Hashable] | None = None,
) -> Batch[A]: ...
async def run_items(
    items: Iterable[T],
    function: Callable[[T], object],
    *,
    retries: int = 0,
    retry_delay: RetryDelay = 0.0,
    retry_on: RetryOn = Exception,
    timeout: float | None = None,  # noqa: ASYNC109 - of each attempt, not of the call
    concurrency: int = 8,
    limit: Limit | None = None,
    weight: int = 1,
    on_progress: Callable[[Progress], object] | None = None,
    key: Callable[[T], Hashable] | None = None,
) -> Batch[Any]:
    """Call a function once for each item, several at a time, and return what became of them.

    An item that fails stops no other one. Inside a body the run is nested in that body's run; its step reports the
    milestone `progress` with `done`, `total` and `failed`, for every item of up to 100, of more at every percent. If
    the call is cancelled, nothing more starts, what runs is cancelled and awaited, and `batch_of(error)` tells of the
    cancellation what had succeeded and failed, and the keys of the rest.

    Args:
        items: What to go over: any iterable but a text or a mapping. It is listed before anything runs.
        function: Called with each item. An async function runs on the event loop, another one in a thread.
        retries: How often an item that failed is tried again, at most.
        retry_delay: Seconds before that, a `backoff(...)`, or a function of the attempt.
        retry_on: The errors after which it is, or a function of the error.
        timeout: Seconds that an attempt may take; for async functions only.
        concurrency: How many items may be alive at once.
        limit: What the items share with others. Inside a step that holds a permit of it they borrow that permit.
        weight: How much of the limit's concurrency an item takes.
        on_progress: Called with a `Progress` after each item, on the event loop and in the context of this call. A
            plain function; what it raises is logged, and hurts no item.
        key: Returns what an item goes by in the batch; left out, its index.

    Raises:
        InvalidItems: What is given has no items to go over, or a key cannot be one.
        DuplicateKey: Two items have one key.
        InvalidOption: An option has a value it cannot have.
        InvalidDeclaration: The function cannot be called with an item.
    """
    options: LayerOptions = {"retries": retries, "retry_delay": retry_delay, "retry_on": retry_on, "limit": limit}
    if weight != 1:
        options["weight"] = weight
    if timeout is not None:
        options["timeout"] = timeout
    _check_functions(function, key, on_progress, timeout)
    listed = _listed(items)
    keys = range(len(listed)) if key is None else _keys_of(listed, key)
    settings = plan_settings("run_items()", PlanSettings(), {"concurrency": concurrency, "threads": concurrency})
    program, step = _program_of(function, options, settings)
    outer, outer_step = RUN.get(), STEP.get()
    is_told = on_progress is not None or (outer is not None and outer_step is not None)
    runner = _runner_of(program, step, listed, is_told=is_told)
    if is_told:
        _Teller(runner, keys, on_progress)
    return await _batch_from(runner, step, keys)


def batch_of(error: BaseException) -> Batch[Any] | None:
    """Return what became of the items of a `run_items` that was cut off, or `None` if an error came out of none.

    Args:
        error: What `run_items()` raised: the cancellation, or what ended the program.
    """
    with suppress(Exception):  # a class may hide its dictionary
        found = vars(error).get(_BATCH)
        return found if isinstance(found, Batch) else None  # pyright: ignore[reportUnknownVariableType] # of any artifact
    return None


# What is given


def _check_functions(function: object, key: object, on_progress: object, timeout: float | None) -> None:
    """Refuse what could not be called, before anything is."""
    if not callable(function) or not takes_positional(function, 1):
        message = f"run_items() calls a function with one item, which {shown(function)} does not take."
        raise InvalidDeclaration(message)
    if is_generator_function(function):
        message = f"run_items() got {shown(function)}, a generator function; return a list there, or the value itself."
        raise InvalidDeclaration(message)
    if timeout is not None and not is_coroutine_function(function):
        message = (
            f"run_items(timeout={timeout!r}): {shown(function)} is a plain function and runs in a thread, which "
            "nothing can stop. Make it async, or leave timeout out."
        )
        raise InvalidOption(message)
    for name, given, told in (("key", key, "an item"), ("on_progress", on_progress, "a Progress")):
        if given is None:
            continue
        if not callable(given) or not takes_positional(given, 1) or is_coroutine_function(given):
            message = (
                f"run_items({name}={shown(given)}): {name} must be a plain function of {told}; "
                "await what is asynchronous in the function of the items."
            )
            raise InvalidOption(message)


def _listed(items: object) -> Sequence[Any]:
    """Return the items in their order.

    Raises:
        InvalidItems: They are none.
        Exception: What iterating raises.
    """
    what = f"run_items() got a {type(items).__name__}"
    if isinstance(items, (str, bytes, bytearray, memoryview)):
        message = f"{what}, whose items would be its single characters; put it in a list."
    elif isinstance(items, Mapping):
        message = f"{what}; say what its items are: mapping.values(), mapping.items(), or list(mapping)."
    elif isinstance(items, AsyncIterable):
        message = f"{what}, which is asynchronous; list it first: [item async for item in ...]."
    elif not isinstance(items, Iterable) and not hasattr(items, "__getitem__"):
        message = f"{what}, which has no items; give a list, or anything else that can be iterated."
    else:
        return list(cast("Iterable[Any]", items))
    raise InvalidItems(message)


def _keys_of(items: Sequence[T], key: Callable[[T], Hashable]) -> Sequence[Hashable]:
    """Return the key of each item.

    Raises:
        InvalidItems: One cannot be a key.
        DuplicateKey: Two are the same.
        Exception: What the function raises.
    """
    found: dict[Hashable, int] = {}
    for number, item in enumerate(items):
        own = key(item)
        try:
            first = found.setdefault(own, number)
        except TypeError:
            message = (
                f"run_items(key=...): the key of item {number} is a {type(own).__name__}, which cannot be a key; "
                "return a text, a number, or a tuple of these."
            )
            raise InvalidItems(message) from None
        if first != number:
            message = (
                f"run_items(key=...): items {first} and {number} have the same key {own!r}; "
                "leave one of them out, or return what tells them apart."
            )
            raise DuplicateKey(message, key=own)
    return tuple(found)


# How it runs: the program of a fan-out over a list, and a run of it


async def _given(items: Sequence[object]) -> Sequence[object]:
    return items


_EACH = each(Graph("items").add_layer(_given, name="given items"))


def _program_of(
    function: Callable[[Any], object], options: LayerOptions, settings: PlanSettings
) -> tuple[Program, int]:
    """Return the program that calls a function for each item, and its fan-out."""
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not name.isidentifier():
        name = "item"
    options["name"], options["on_error"] = name, "continue"
    try:
        # A graph of its own: nothing of it outlives the run.
        unit = Graph("items").layer.each(_call_of(function), **options)
    except InvalidOption as error:
        raise InvalidOption(str(error).replace("@layer.each", "run_items", 1)) from None
    wiring, steps = compile_wiring([(unit, None)], None, settings)
    return build_program(wiring, settings, MappingProxyType({})), steps[0]


def _call_of(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return the function with the parameter that the items are for; its own may be of any kind."""
    if is_coroutine_function(function):

        async def call(item: Any = _EACH) -> object:  # noqa: ANN401 - whatever the items are
            return await function(item)

        return call

    def call_in_thread(item: Any = _EACH) -> object:  # noqa: ANN401 - as above
        return function(item)

    return call_in_thread


def _runner_of(program: Program, step: int, items: Sequence[object], *, is_told: bool) -> Runner:
    run_id, executors = os.urandom(8).hex(), {Body.THREAD: ThreadExecutor()}
    return new_runner(program, [items], run_id, executors, targets=[step], observed=is_told)


async def _batch_from(runner: Runner, step: int, keys: Sequence[Hashable]) -> Batch[Any]:
    """Run, and return the batch; link it to what cuts the run off."""
    try:
        await runner.run()
        if runner.reason is not None:
            raise runner.reason  # noqa: TRY301 - a cancellation that came when all had ended
    except BaseException as error:
        run: Run[Any] = Run(
            run_id=runner.run_id,
            parent_id=runner.inside.parent_id,
            records=runner.records,
            shape=Shape("one", (step,)),
            ending=runner.ending,
        )
        blame(error, undone_notes(run), run)
        with suppress(Exception):  # as the link to the run: an exception of the oddest class is raised as it is
            vars(error)[_BATCH] = _batch(runner, step, keys)
        raise
    return _batch(runner, step, keys)


def _batch(runner: Runner, step: int, keys: Sequence[Hashable]) -> Batch[Any]:
    """Return what became of the items, as far as they have ended."""
    state, cells = runner.scheduler.state, runner.scheduler.cells
    items = list(enumerate(runner.scheduler.items.get(step, ())))
    succeeded = {number: cells[index] for number, index in items if state[index] == Status.SUCCEEDED}
    failed = {number: cells[index] for number, index in items if state[index] == Status.FAILED}
    return Batch(succeeded, cast("dict[int, BaseException]", failed), keys=keys)


class _Teller:
    """Tells how far a batch has come: a function, and the step around it.

    Args:
        runner: The run of the items, which is watched.
        keys: Their keys.
        function: Who is told, or `None`.

    Attributes:
        function: Who is told; its failures go by its name, also when it is told no more.
    """

    def __init__(self, runner: Runner, keys: Sequence[Hashable], function: Callable[[Progress], object] | None) -> None:
        self.function: Callable[[Progress], object] = _ignore if function is None else function
        self._has_listener = function is not None
        self._keys = keys
        self._context = copy_context()
        self._run, self._step = RUN.get(), STEP.get()
        self._bus = runner.bus
        self._succeeded = self._failed = 0
        self._scheduler = scheduler = cast("WatchedScheduler", runner.scheduler)
        scheduler.watchers = (*scheduler.watchers, self)

    def note_expanded(self, step: int, count: int) -> None:
        """There is nothing to tell yet."""

    def note_ended(self, index: int, state: Status, value: object) -> None:
        """Count an item that succeeded or failed, and tell of it. Nothing that this raises would be anybody's."""
        base = self._scheduler.base
        if index < base or state not in (Status.SUCCEEDED, Status.FAILED):
            return
        self._succeeded += state == Status.SUCCEEDED
        self._failed += state == Status.FAILED
        self._report()
        if self._has_listener:
            error = cast("BaseException", value) if state == Status.FAILED else None
            self._tell(self._keys[self._scheduler.item_numbers[index - base]], error)

    def _report(self) -> None:
        """Report a milestone of the step around, now and then."""
        done, total = self._succeeded + self._failed, len(self._keys)
        if self._run is None or self._step is None:
            return
        if 100 * done // total > 100 * (done - 1) // total:  # each item of up to 100
            values = {"done": done, "total": total, "failed": self._failed}
            self._run.note_milestone(self._step, PROGRESS, values)

    def _tell(self, key: Hashable, error: BaseException | None) -> None:
        """Call the function; what it raises is counted and logged as that of any subscriber."""
        done, total = self._succeeded + self._failed, len(self._keys)
        progress = Progress(
            done=done,
            total=total,
            succeeded=self._succeeded,
            failed=self._failed,
            percentage=100 * done / total,
            key=key,
            error=error,
        )
        try:
            self._context.run(self.function, progress)
        except BaseException as raised:  # noqa: BLE001 - it must not hurt an item
            if self._bus is not None:
                self._bus.note_failure(self, raised)
                if not isinstance(raised, Exception):
                    self._has_listener = False
                    self._bus.remove(self, raised)


def _ignore(progress: Progress) -> None:
    """Be told where nobody wants to be."""

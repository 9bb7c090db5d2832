"""The options of units and plans: their names, their types and what they may be."""

import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from typing_extensions import TypedDict

from fusynk._core.backoff import Backoff
from fusynk._core.callables import is_coroutine_function, takes_positional
from fusynk._core.limits import Limit
from fusynk._core.markers import Artifact, When
from fusynk._core.model import UNSET, Unset

if TYPE_CHECKING:
    from fusynk._core.captured import Capture
    from fusynk._core.events import Listener, Subscriber
from fusynk.errors import InvalidOption, UnknownOption, did_you_mean, shown

Dependency: TypeAlias = Artifact[object] | When | str
Delay: TypeAlias = float | Backoff
RetryDelay: TypeAlias = Delay | Callable[[int], Delay] | Callable[[int, Exception], Delay]
RetryOn: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool | Awaitable[bool]]
)
OnError: TypeAlias = Literal["abort", "continue"] | Callable[[Exception], object]
RunIn: TypeAlias = Literal["auto", "inline", "thread", "subprocess"]
Mode: TypeAlias = Literal["parallel", "sequential", "batched", "isolated"]

MAX_RETRIES = 1000


class LayerOptions(TypedDict, total=False):
    """The keywords of `@layer`, `@layer.each` and `@process`."""

    name: str
    description: str
    depends_on: Dependency | Iterable[Dependency]
    priority: int
    retries: int
    retry_delay: RetryDelay
    retry_on: RetryOn
    timeout: float | None
    on_error: OnError
    compensate: Callable[..., object] | None
    limit: Limit | None
    weight: int
    run_in: RunIn
    abandon_on_timeout: bool
    tags: Sequence[str]


class WorkerOptions(LayerOptions, total=False):
    """The keywords of `@worker`."""

    every: float
    cron: str
    max_runs: int
    heartbeat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOptions:
    """What was said at the decorator. `UNSET` inherits the plan's default."""

    description: str = ""
    priority: int = 0
    retries: int | Unset = UNSET
    retry_delay: RetryDelay | Unset = UNSET
    retry_on: RetryOn = Exception
    timeout: float | Unset | None = UNSET
    on_error: OnError | Unset = UNSET
    compensate: Callable[..., object] | None = None
    limit: Limit | None = None
    weight: int = 1
    run_in: RunIn = "auto"
    abandon_on_timeout: bool = False
    tags: tuple[str, ...] = ()
    every: float | None = None
    cron: str | None = None
    max_runs: int | None = None
    heartbeat: float | None = None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive_count(value: object) -> bool:
    return _is_count(value) and value != 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_positive_seconds(value: object) -> bool:
    return _is_seconds(value) and value != 0


def _or_none(accepts: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or accepts(value)


def _is_function(value: object) -> bool:
    """Tell whether this is a function of one argument."""
    return callable(value) and takes_positional(value, 1)


def _is_delay_function(value: object) -> bool:
    return callable(value) and (takes_positional(value, 1) or takes_positional(value, 2))


def _is_retry_on(value: object) -> bool:
    if not isinstance(value, tuple):
        return _is_error_type(value) or _is_function(value)
    return all(_is_error_type(member) for member in cast("tuple[object, ...]", value))


def _is_error_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _is_tags(value: object) -> bool:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        return False
    return all(isinstance(tag, str) for tag in cast("Iterable[object]", value))


def _are_subscribers(value: object) -> bool:
    if not isinstance(value, (list, tuple)):
        return False
    functions = [getattr(one, "function", one) for one in cast("Sequence[object]", value)]
    return all(callable(one) and takes_positional(one, 1) and not is_coroutine_function(one) for one in functions)


def _is_capture(value: object) -> bool:
    if isinstance(value, (set, frozenset, list, tuple)):
        return {"arguments", "results", "errors"}.issuperset(cast("Iterable[object]", value))
    return _is_function(value)


_Rule: TypeAlias = tuple[str, Callable[[object], bool], str]

_SHARED_RULES: tuple[_Rule, ...] = (
    ("retries", lambda v: _is_count(v) and cast("int", v) <= MAX_RETRIES, f"a whole number from 0 to {MAX_RETRIES}"),
    (
        "retry_delay",
        lambda v: isinstance(v, Backoff) or _is_delay_function(v) or _is_seconds(v),
        "seconds, a backoff(...), or a function of the attempt, or of the attempt and the error",
    ),
    ("timeout", _or_none(_is_positive_seconds), "a positive number of seconds, or None"),
    (
        "on_error",
        lambda v: v in ("abort", "continue") or _is_function(v),
        '"abort", "continue" or a function of the error that returns the artifact',
    ),
)

_UNIT_RULES: tuple[_Rule, ...] = (
    *_SHARED_RULES,
    ("description", lambda v: isinstance(v, str), "a text"),
    ("priority", lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
    ("retry_on", _is_retry_on, "exception types, or a function of the error"),
    (
        "compensate",
        _or_none(lambda v: callable(v) and (takes_positional(v, 1) or takes_positional(v, 2))),
        "a function that takes the artifact, or a method that does",
    ),
    ("limit", _or_none(lambda v: isinstance(v, Limit)), 'a Limit("name", ...)'),
    ("weight", _is_positive_count, "a whole number from 1 up"),
    ("run_in", lambda v: v in ("auto", "inline", "thread", "subprocess"), '"auto", "inline", "thread" or "subprocess"'),
    ("abandon_on_timeout", lambda v: isinstance(v, bool), "True or False"),
    ("tags", _is_tags, "a sequence of texts"),
    ("every", _or_none(_is_positive_seconds), "a positive number of seconds"),
    ("cron", _or_none(lambda v: isinstance(v, str) and bool(v.strip())), "a cron expression"),
    ("max_runs", _or_none(_is_positive_count), "a whole number from 1 up"),
    ("heartbeat", _or_none(_is_positive_seconds), "a positive number of seconds"),
)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PlanOptions(TypedDict, total=False):
    """The keywords of `compile_plan` and `Plan.options`."""

    concurrency: int
    threads: int
    processes: int
    discipline: Literal["fifo", "lifo"]
    deadline: float | None
    retries: int
    retry_delay: RetryDelay
    timeout: float | None
    on_error: OnError
    run_id: str | None
    seed: int | str | None
    grace: float
    executor: object
    subscribers: "Sequence[Listener | Subscriber]"
    progress: bool
    verbose: bool
    log_context: bool
    capture: "Capture"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """How a plan runs, and what its units inherit.

    Attributes:
        concurrency: How many bodies may be alive at once.
        threads: How many of them may be synchronous functions in threads.
        processes: How many of them may be functions in OS processes; at first as many as there are CPUs to use.
        discipline: Which of the ready steps of one priority starts first: "fifo" or "lifo".
        deadline: Seconds that a run may take, or `None`.
        retries: Attempts after the first, for units that do not say.
        retry_delay: Seconds between attempts, for units that do not say.
        timeout: Seconds that an attempt may take, for units that do not say.
        on_error: What a failure does, for units that do not say.
        run_id: The id of the next run, or `None` for a new one each time.
        seed: Seeds the jitter of retries; `None` draws one each run.
        grace: Seconds a cancelled body may take to end before it is reported as stuck.
        executor: Where synchronous functions run, or `None` for threads.
        subscribers: Who is told of events: functions, or a `Subscriber` with a thread of its own.
        progress: Whether runs show on the standard error how they go on: drawn on a terminal, elsewhere in lines.
        verbose: Whether runs write a line to loguru for whatever happens in them.
        log_context: Whether lines that bodies log with loguru carry the `run_id` and the `layer`.
        capture: Which values spans may show, each cut to a kilobyte: some of "arguments", "results" and "errors", or a
            function of a `Captured` that returns what may be shown of it.
    """

    concurrency: int = 32
    threads: int = 8
    processes: int = field(default_factory=_usable_cpus)
    discipline: Literal["fifo", "lifo"] = "fifo"
    deadline: float | None = None
    retries: int = 0
    retry_delay: RetryDelay = 0.0
    timeout: float | None = None
    on_error: OnError = "abort"
    run_id: str | None = None
    seed: int | str | None = None
    grace: float = 5.0
    executor: object = None
    subscribers: "Sequence[Listener | Subscriber]" = ()
    progress: bool = False
    verbose: bool = False
    log_context: bool = True
    capture: "Capture" = ()


_PLAN_RULES: tuple[_Rule, ...] = (
    *_SHARED_RULES,
    ("concurrency", _is_positive_count, "a whole number from 1 up"),
    ("threads", _is_positive_count, "a whole number from 1 up"),
    ("processes", _is_positive_count, "a whole number from 1 up"),
    ("discipline", lambda v: v in ("fifo", "lifo"), '"fifo" or "lifo"'),
    ("deadline", _or_none(_is_positive_seconds), "a positive number of seconds, or None"),
    ("run_id", _or_none(lambda v: isinstance(v, str) and bool(v)), "a text that is not empty"),
    ("seed", _or_none(lambda v: isinstance(v, (int, str))), "a whole number or a text"),
    ("grace", _is_positive_seconds, "a positive number of seconds"),
    ("progress", lambda v: isinstance(v, bool), "True or False"),
    ("verbose", lambda v: isinstance(v, bool), "True or False"),
    ("log_context", lambda v: isinstance(v, bool), "True or False"),
    ("capture", _is_capture, 'some of "arguments", "results", "errors", or a function of what would be shown'),
    ("subscribers", _are_subscribers, "a sequence of plain functions, or of Subscriber(function)"),
    ("executor", _or_none(lambda v: callable(getattr(v, "call", None))), "an object with an async method `call`"),
)

_DECLARED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "@layer": frozenset(LayerOptions.__annotations__),
        "@layer.each": frozenset(LayerOptions.__annotations__),
        "@process": frozenset(LayerOptions.__annotations__),
        "@worker": frozenset(LayerOptions.__annotations__) | frozenset(WorkerOptions.__annotations__),
    }
)
_PLAN_NAMES = frozenset(PlanOptions.__annotations__)
_STRUCTURAL = frozenset({"name", "depends_on"})
_DEFAULT_OPTIONS = UnitOptions()


def _check(caller: str, given: Mapping[str, object], known: Iterable[str], rules: Iterable[_Rule]) -> None:
    """Refuse options that do not exist, and values that make no sense."""
    known = sorted({*known, "mode", "size", "delay"}) if caller == "@process" else sorted(known)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f" It takes: {', '.join(known)}."
            raise UnknownOption(f"{caller} has no option {name!r}.{hint}")
    for name, accepts, wanted in rules:
        if name in given and not accepts(given[name]):
            raise InvalidOption(f"{caller.removesuffix('()')}({name}={shown(given[name])}): {name} must be {wanted}.")


def unit_options(decorator: str, given: Mapping[str, object]) -> UnitOptions:
    """Check the keywords of a decorator and return them frozen.

    Args:
        decorator: Who is asking, as written: "@layer".
        given: The keywords.

    Raises:
        UnknownOption: A keyword does not exist.
        InvalidOption: A value makes no sense.
    """
    if not given:
        return _DEFAULT_OPTIONS
    _check(decorator, given, _DECLARED[decorator], _UNIT_RULES)
    _check_weight(decorator, given)
    plain = {name: value for name, value in given.items() if name not in _STRUCTURAL}
    if "tags" in plain:
        plain["tags"] = tuple(cast("Iterable[str]", plain["tags"]))
    return UnitOptions(**cast("Any", plain)) if plain else _DEFAULT_OPTIONS


def _check_weight(decorator: str, given: Mapping[str, object]) -> None:
    """Refuse a weight that nothing counts, or that its limit could never grant."""
    if "weight" not in given:
        return
    weight, limit = cast("int", given["weight"]), cast("Limit | None", given.get("limit"))
    if limit is None or limit.concurrency is None:
        message = f"{decorator}(weight={weight!r}) counts for nothing; give it a limit=Limit(..., concurrency=...)."
        raise InvalidOption(message)
    if weight > limit.concurrency:
        message = f"{decorator}(weight={weight!r}) is more than {limit!r} ever grants; give at most its concurrency."
        raise InvalidOption(message)


def check_seconds(caller: str, name: str, value: object, *, positive: bool = False) -> None:
    """Check a number of seconds.

    Args:
        caller: Who is asking, as written: "handle.cancel".
        name: What the argument is called.
        value: The argument.
        positive: Whether 0 is too few.

    Raises:
        InvalidOption: It is no finite number from 0 up.
    """
    accepts = _is_positive_seconds if positive else _is_seconds
    if not accepts(value):
        wanted = "seconds above 0" if positive else "seconds from 0 up"
        raise InvalidOption(f"{caller}({name}={shown(value)}): {name} must be a number of {wanted}.")


def plan_settings(caller: str, former: PlanSettings, given: Mapping[str, object]) -> PlanSettings:
    """Return the settings with some replaced.

    Args:
        caller: Who is asking, as written: "compile_plan()".
        former: What holds where nothing is given.
        given: The keywords.

    Raises:
        UnknownOption: A keyword does not exist.
        InvalidOption: A value makes no sense.
    """
    _check(caller, given, _PLAN_NAMES, _PLAN_RULES)
    return replace(former, **cast("Any", given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for a step: its own options, and the plan's where it said nothing."""

    retries: int
    retry_delay: RetryDelay
    retry_on: RetryOn
    timeout: float | None
    on_error: OnError
    compensate: Callable[..., object] | None
    limit: Limit | None
    weight: int
    abandon_on_timeout: bool


def policy_of(options: UnitOptions, settings: PlanSettings) -> Policy:
    """Return the options of a unit, completed by the plan's defaults."""
    return Policy(
        retries=settings.retries if options.retries is UNSET else options.retries,
        retry_delay=settings.retry_delay if options.retry_delay is UNSET else options.retry_delay,
        retry_on=options.retry_on,
        timeout=settings.timeout if options.timeout is UNSET else options.timeout,
        on_error=settings.on_error if options.on_error is UNSET else options.on_error,
        compensate=options.compensate,
        limit=options.limit,
        weight=options.weight,
        abandon_on_timeout=options.abandon_on_timeout,
    )

"""The options of units and plans: their names, their types and what they may be."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from typing_extensions import TypedDict

from fusynk._core.backoff import Backoff
from fusynk._core.limits import Limit
from fusynk._core.markers import Artifact, When
from fusynk._core.model import UNSET, Unset
from fusynk._core.numbers import is_count, is_positive_count, is_positive_seconds, is_seconds
from fusynk._core.option_values import (
    are_subscribers,
    is_capture,
    is_function,
    is_journal,
    is_retry_on,
    is_tags,
    or_none,
    takes_one_or_two,
)
from fusynk._core.schedule_options import SCHEDULE_RULES, check_schedule

if TYPE_CHECKING:
    from fusynk._core.captured import Capture
    from fusynk._core.events import Listener, Subscriber
    from fusynk.protocols import Journal
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
    """The keywords of `@layer` and `@layer.each`."""

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


class AdjustableOptions(TypedDict, total=False):
    """What `layer.with_options` can change: how often, how long and what then, but nothing of the graph."""

    retries: int
    retry_delay: RetryDelay
    retry_on: RetryOn
    timeout: float | None
    on_error: OnError
    limit: Limit | None
    weight: int
    abandon_on_timeout: bool


class WorkerOptions(LayerOptions, total=False):
    """The keywords of `@worker` and `@process`."""

    every: float
    jitter: float
    cron: str
    timezone: str
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
    jitter: float = 0.0
    cron: str | None = None
    timezone: str | None = None
    max_runs: int | None = None
    heartbeat: float | None = None


_Rule: TypeAlias = tuple[str, Callable[[object], bool], str]

_SHARED_RULES: tuple[_Rule, ...] = (
    ("retries", lambda v: is_count(v) and cast("int", v) <= MAX_RETRIES, f"a whole number from 0 to {MAX_RETRIES}"),
    (
        "retry_delay",
        lambda v: isinstance(v, Backoff) or takes_one_or_two(v) or is_seconds(v),
        "seconds, a backoff(...), or a function of the attempt, or of the attempt and the error",
    ),
    ("timeout", or_none(is_positive_seconds), "a positive number of seconds, or None"),
    (
        "on_error",
        lambda v: v in ("abort", "continue") or is_function(v),
        '"abort", "continue" or a function of the error that returns the artifact',
    ),
)

_UNIT_RULES: tuple[_Rule, ...] = (
    *_SHARED_RULES,
    *SCHEDULE_RULES,
    ("description", lambda v: isinstance(v, str), "a text"),
    ("priority", lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
    ("retry_on", is_retry_on, "exception types, or a function of the error"),
    ("compensate", or_none(takes_one_or_two), "a function that takes the artifact, or a method that does"),
    ("limit", or_none(lambda v: isinstance(v, Limit)), 'a Limit("name", ...)'),
    ("weight", is_positive_count, "a whole number from 1 up"),
    ("run_in", lambda v: v in ("auto", "inline", "thread", "subprocess"), '"auto", "inline", "thread" or "subprocess"'),
    ("abandon_on_timeout", lambda v: isinstance(v, bool), "True or False"),
    ("tags", is_tags, "a sequence of texts"),
    ("max_runs", or_none(is_positive_count), "a whole number from 1 up"),
    ("heartbeat", or_none(is_positive_seconds), "a positive number of seconds"),
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
    journal: "Journal | None"
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
        journal: Where runs are recorded, so that they can be resumed, or `None`.
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
    journal: "Journal | None" = None
    subscribers: "Sequence[Listener | Subscriber]" = ()
    progress: bool = False
    verbose: bool = False
    log_context: bool = True
    capture: "Capture" = ()


_PLAN_RULES: tuple[_Rule, ...] = (
    *_SHARED_RULES,
    ("concurrency", is_positive_count, "a whole number from 1 up"),
    ("threads", is_positive_count, "a whole number from 1 up"),
    ("processes", is_positive_count, "a whole number from 1 up"),
    ("discipline", lambda v: v in ("fifo", "lifo"), '"fifo" or "lifo"'),
    ("deadline", or_none(is_positive_seconds), "a positive number of seconds, or None"),
    ("run_id", or_none(lambda v: isinstance(v, str) and bool(v)), "a text that is not empty"),
    ("seed", or_none(lambda v: isinstance(v, (int, str))), "a whole number or a text"),
    ("grace", is_positive_seconds, "a positive number of seconds"),
    ("progress", lambda v: isinstance(v, bool), "True or False"),
    ("verbose", lambda v: isinstance(v, bool), "True or False"),
    ("log_context", lambda v: isinstance(v, bool), "True or False"),
    ("capture", is_capture, 'some of "arguments", "results", "errors", or a function of what would be shown'),
    ("subscribers", are_subscribers, "a sequence of plain functions, or of Subscriber(function)"),
    ("executor", or_none(lambda v: callable(getattr(v, "call", None))), "an object with an async method `call`"),
    ("journal", or_none(is_journal), 'a journal, as SqliteJournal("runs.db")'),
)
PER_RUN = frozenset({"run_id", "journal", "deadline", "subscribers", "progress", "verbose", "log_context", "seed"})
"""The options of a plan that say nothing of its steps."""

_DECLARED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "@layer": frozenset(LayerOptions.__annotations__),
        "@layer.each": frozenset(LayerOptions.__annotations__),
        "@process": frozenset(LayerOptions.__annotations__) | frozenset(WorkerOptions.__annotations__),
        "@worker": frozenset(LayerOptions.__annotations__) | frozenset(WorkerOptions.__annotations__),
    }
)
SCHEDULE_NAMES = frozenset(WorkerOptions.__annotations__) - frozenset(LayerOptions.__annotations__)
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
    check_schedule(decorator, given)
    plain = {name: value for name, value in given.items() if name not in _STRUCTURAL}
    if "tags" in plain:
        plain["tags"] = tuple(cast("Iterable[str]", plain["tags"]))
    return UnitOptions(**cast("Any", plain)) if plain else _DEFAULT_OPTIONS


def adjusted_options(caller: str, options: UnitOptions, given: Mapping[str, object]) -> UnitOptions:
    """Check other values for the options of a unit and return them frozen.

    Args:
        caller: Who is asking, as written: "with_options()".
        options: What holds where nothing is given.
        given: The keywords.

    Raises:
        UnknownOption: A keyword does not exist, or cannot be changed after the declaration.
        InvalidOption: A value makes no sense.
    """
    _check(caller, given, AdjustableOptions.__annotations__, _UNIT_RULES)
    adjusted = replace(options, **cast("Any", given))
    if "weight" in given or ("limit" in given and adjusted.weight != 1):
        _check_weight(caller.removesuffix("()"), {"weight": adjusted.weight, "limit": adjusted.limit})
    return adjusted


def scheduled_options(caller: str, options: UnitOptions, given: Mapping[str, object]) -> UnitOptions:
    """Check another schedule for the options of a unit and return them frozen. One kind of schedule ends the other.

    Args:
        caller: Who is asking, as written: "update()".
        options: What holds where nothing is given.
        given: The keywords.

    Raises:
        UnknownOption: A keyword does not exist, or says nothing of a schedule.
        InvalidOption: A value makes no sense.
    """
    _check(caller, given, SCHEDULE_NAMES, _UNIT_RULES)
    ended = ("cron", "timezone") if given.get("every") is not None else ()
    ended = (*ended, "every", "jitter") if given.get("cron") is not None else ended
    other = {name: getattr(_DEFAULT_OPTIONS, name) for name in ended} | dict(given)
    scheduled = replace(options, **cast("Any", other))
    check_schedule(caller.removesuffix("()"), {name: getattr(scheduled, name) for name in SCHEDULE_NAMES})
    return scheduled


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

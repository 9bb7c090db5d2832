"""Runs as loguru lines: what a run does, where somebody asked for it, and the run's id on the lines of bodies."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from functools import cache
from threading import local
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from loguru import logger

from fusynk._core.current import RUN, STEP
from fusynk._core.printable import plain, printable
from fusynk.errors import InvalidOption, shown

if TYPE_CHECKING:
    from loguru import Record

    from fusynk._core.events import Event

__all__ = ["disable", "enable", "to_stdlib"]

_EVERYTHING: Final = 0
_PACKAGE: Final = "fusynk"


@dataclass(slots=True)
class _Switch:
    """Whether runs write lines though their plans do not ask for it.

    Attributes:
        level: The number of the lowest level that they write, or `None`.
    """

    level: int | None = None


_SWITCH: Final = _Switch()


def enable(level: str | int = "INFO") -> None:
    """Have every run that begins from now on write lines, and let the library's warnings through.

    They go to the sinks that the application has given loguru.

    Args:
        level: The lowest level that is written: "INFO" for everything, "WARNING" for failed attempts and worse.

    Raises:
        InvalidOption: There is no such level.
    """
    _SWITCH.level = _number_of(level)
    logger.enable(_PACKAGE)


def disable() -> None:
    """Undo `enable`. Plans with `verbose=True` still write lines."""
    _SWITCH.level = None
    logger.disable(_PACKAGE)


def to_stdlib(level: str | int = "INFO") -> int:
    """Do what `enable` does, and hand the library's lines to the standard library's `logging`, too.

    They arrive at the logger "fusynk" and those below, with what is said of them as attributes of the record: `run_id`,
    `layer` and so on. Loguru's own sink prints them as well, until `loguru.logger.remove()`.

    Args:
        level: The lowest level that is written.

    Returns:
        The number of the sink, for `loguru.logger.remove(...)`.

    Raises:
        InvalidOption: There is no such level.
    """
    enable(level)
    bridge = _Bridge()
    return logger.add(bridge, level=0, format="{message}", filter=bridge.takes, backtrace=False, diagnose=False)


def _number_of(level: str | int) -> int:
    if isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return level
    with suppress(ValueError, TypeError):
        return logger.level(str(level)).no
    message = f'level={shown(level)} is no level of loguru; write "DEBUG", "INFO", "WARNING", "ERROR" or a number.'
    raise InvalidOption(message)


# The lines of a run


@dataclass(frozen=True, slots=True)
class _Line:
    """How an event is told: by a constant text, into which loguru puts the values.

    Attributes:
        level: The level.
        text: The text.
        fields: For each value in it, the field of the event.
    """

    level: str
    text: str
    fields: Mapping[str, str]


def _line(level: str, text: str, *fields: str, **named: str) -> _Line:
    return _Line(level, text, {**{field: field for field in fields}, **named})


_INFO, _WARNING, _ERROR = "INFO", "WARNING", "ERROR"
_NUMBERS: Final = MappingProxyType({_INFO: 20, _WARNING: 30, _ERROR: 40})
_ENDINGS: Final = MappingProxyType({"succeeded": _INFO, "cancelled": _WARNING, "failed": _ERROR})
# By the name of the event's class; the classes are loaded for those who listen only.
_LINES: Final[Mapping[str, _Line]] = MappingProxyType(
    {
        "StepExpanded": _line(_INFO, "{layer}: {count} items", "count"),
        "AttemptStarted": _line(_INFO, "{layer}: attempt {attempt} started", "attempt"),
        "AttemptFailed": _line(_WARNING, "{layer}: attempt {attempt} failed with {error}", "attempt", "error"),
        "RetryScheduled": _line(_INFO, "{layer}: attempt {attempt} follows in {delay:g} s", "attempt", "delay"),
        "StepSucceeded": _line(_INFO, "{layer}: succeeded", "attempts", "recovered"),
        "StepFailed": _line(_ERROR, "{layer}: failed with {error}", "error", "attempts"),
        "StepSkipped": _line(_INFO, "{layer}: skipped because of {because} ({cause})", "because", "cause"),
        "StepCancelled": _line(_INFO, "{layer}: cancelled by {by}", "by"),
        "StepCompensated": _line(_INFO, "{layer}: undone"),
        "CompensationFailed": _line(_ERROR, "{layer}: could not be undone: {error}", "error"),
        "TeardownFailed": _line(_ERROR, "{layer}: teardown failed with {error}", "error"),
        "BodyStuck": _line(_WARNING, "{layer}: a cancelled body has not ended within its grace"),
        "ThreadAbandoned": _line(_WARNING, "{layer}: a thread was left behind; its function goes on"),
        "MilestoneReached": _line(_INFO, "{layer}: milestone {milestone} {values}", "values", milestone="name"),
    }
)


class RunLines:
    """Writes the lines of one run.

    Args:
        plan: How the plan is called, printable.
        run_id: The id of the run.
        lowest: The number of the lowest level that is written.
    """

    def __init__(self, plan: str, run_id: str, lowest: int) -> None:
        self._logger = logger.bind(run_id=printable(run_id), plan=plan)
        self._plan = plan
        self._lowest = lowest
        self._began = 0.0

    def enter(self, step: str, attempt: int) -> None:
        """Leave the context of a body as it is."""

    def hear(self, event: "Event") -> None:
        """Write the line of an event. A sink that raises is the application's to see to, and nothing to the run."""
        with suppress(Exception):
            self._tell(event)

    def _tell(self, event: Any) -> None:  # noqa: ANN401 - one of many classes, told apart by name
        match type(event).__name__:
            case "RunStarted":
                self._began = event.time
                self._write(_INFO, "Run of {plan} started, steps: {steps}", plan=self._plan, steps=len(event.steps))
            case "RunEnded":
                seconds = round(event.time - self._began, 6)
                text = "Run of {plan} {status} after {seconds:g} s"
                self._write(_ENDINGS[event.status], text, plan=self._plan, status=event.status, seconds=seconds)
            case kind if kind in _LINES:
                line = _LINES[kind]
                if _NUMBERS[line.level] >= self._lowest:
                    values = {name: getattr(event, field) for name, field in line.fields.items()}
                    self._write(line.level, line.text, layer=event.step, **values)
            case _:
                pass

    def _write(self, level: str, text: str, **values: object) -> None:
        if _NUMBERS[level] >= self._lowest:
            self._logger.log(level, text, **{name: _safe(value) for name, value in values.items()})


def _safe(value: object) -> object:
    """Return a value as a line may show it."""
    if isinstance(value, Mapping):
        return {printable(str(name)): plain(one) for name, one in cast("Mapping[str, object]", value).items()}
    return plain(value)


def lowest_level(*, verbose: bool) -> int | None:
    """Return the number of the lowest level at which a run writes lines, or `None` if nobody asked for any.

    Args:
        verbose: Whether its plan asks for them.
    """
    if verbose:
        logger.enable(__name__)  # no other line comes from this module, so nothing else becomes audible
        return _EVERYTHING
    return _SWITCH.level


# The context of bodies


class _Words(dict[str, object]):
    """What loguru adds to a line that is logged inside a run. Which layer that is in, is found out line by line.

    Loguru merges it into each record as it would any mapping, at the time of the line and in the context of whoever
    logs, thread or task. Its own `__iter__` is what makes a merge ask `__getitem__`.
    """

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def __getitem__(self, name: str) -> object:
        return _running_layer() if name == _LAYER else super().__getitem__(name)


_LAYER: Final = "layer"


def _running_layer() -> str | None:
    run, index = RUN.get(), STEP.get()
    return None if run is None or index is None else printable(run.describe_step(index).name)


def mark(context: Context, run_id: str) -> None:
    """Have lines that are logged inside a run carry its id and their layer, whoever logs them.

    Args:
        context: The context variables of the run, of which bodies get copies.
        run_id: The id of the run.
    """
    variable = _loguru_variable()
    if variable is not None:
        context.run(_add_words, variable, run_id)


def _add_words(variable: ContextVar[dict[str, object]], run_id: str) -> None:
    variable.set(_Words({**variable.get({}), "run_id": printable(run_id), _LAYER: None}))


@cache
def _loguru_variable() -> ContextVar[dict[str, object]] | None:
    """Find the context variable that `logger.contextualize` sets, which loguru shows nowhere else."""
    before = copy_context()
    with logger.contextualize(run_id=""):
        inside = copy_context()
    changed = [
        variable for variable, value in inside.items() if variable not in before or before[variable] is not value
    ]
    return changed[0] if len(changed) == 1 and isinstance(inside[changed[0]], dict) else None


# The standard library


class _Bridge(logging.Handler):
    """Hands records to the standard library's logger of their name."""

    def __init__(self) -> None:
        super().__init__()
        self._here = local()

    def takes(self, record: "Record") -> bool:
        """Tell whether a record is the library's own, and no other is on its way through this bridge.

        Some applications have another one the other way, over which it would come back.
        """
        return f"{record['name']}.".startswith(f"{_PACKAGE}.") and not getattr(self._here, "busy", False)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, with what is bound to it as attributes."""
        target = logging.getLogger(record.name)
        if not target.isEnabledFor(record.levelno):
            return
        bound: Mapping[str, object] = vars(record).pop("extra", {})
        for name, value in bound.items():
            vars(record).setdefault(name, value)
        self._here.busy = True
        try:
            target.handle(record)
        finally:
            self._here.busy = False

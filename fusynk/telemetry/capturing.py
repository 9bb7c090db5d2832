"""Showing the values of a run on its spans, for plans that ask for it with `capture=`."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from reprlib import Repr
from typing import Any, TypeAlias, cast

from fusynk._attempt import awaited
from fusynk._core.captured import Captured, Kind
from fusynk._core.current import current_step
from fusynk._core.printable import MOST_BYTES, cut
from fusynk._core.program import Program
from fusynk._core.wiring import RESOURCES, Body

Show: TypeAlias = Callable[[str, Mapping[str, str]], None]
Redact: TypeAlias = Callable[[Captured], object]
_Function: TypeAlias = Callable[..., Any]

_ALL: Collection[Kind] = ("arguments", "results", "errors")
_UNREACHED = frozenset({Body.SUBPROCESS, Body.BARRIER})
_MOST_MEMBERS = 50


def capturing(program: Program, show: Show) -> Program:
    """Return a program whose functions show their values on the span of their attempt, if its plan asks for that.

    Functions in subprocesses stay as they are: only what can be imported gets there.

    Args:
        program: The program.
        show: Sets attributes on the span of a step.
    """
    capture = program.settings.capture
    if not capture:
        return program
    if callable(capture):
        shower = _Shower(show, _ALL, capture)
    else:
        shower = _Shower(show, capture, lambda captured: captured.value)
    functions = list(program.functions)
    for step, body in enumerate(program.bodies):
        if body not in _UNREACHED:
            names = [parameter.name for parameter in program.wiring.parameters[step]]
            functions[step] = _showing(functions[step], names, body, shower)
    return replace(program, functions=tuple(functions))


@dataclass(frozen=True, slots=True)
class _Shower:
    """Shows the values of bodies, called inside them.

    Attributes:
        show: Sets attributes on the span of a step.
        kinds: What is shown.
        redact: Returns what may be shown of a value; `None` for nothing.
    """

    show: Show
    kinds: Collection[Kind]
    redact: Redact

    def arguments(self, names: Sequence[str], values: Sequence[object]) -> None:
        """Show the arguments of a body."""
        named = zip(names, values, strict=True)
        self._show("arguments", [(name, f"fusynk.layer.argument.{name}", value) for name, value in named])

    def result(self, artifact: object) -> None:
        """Show what a body returned."""
        self._show("results", [("", "fusynk.layer.result", artifact)])

    def error(self, error: Exception) -> None:
        """Show what a body raised."""
        self._show("errors", [("", "exception.message", error)])

    def _show(self, kind: Kind, rows: Sequence[tuple[str, str, object]]) -> None:
        if kind not in self.kinds:
            return
        layer = current_step().name
        texts: dict[str, str] = {}
        for name, attribute, value in rows:
            try:
                allowed = self.redact(Captured(layer=layer, kind=kind, name=name, value=value))
                if allowed is not None or value is None:
                    texts[attribute] = _text(allowed)
            except Exception as error:  # noqa: BLE001 - of the user's redaction, or of a value's `__str__`
                texts[attribute] = f"<not shown: {type(error).__name__}>"
        self.show(layer, texts)


def _showing(function: _Function, names: Sequence[str], body: int, shower: _Shower) -> _Function:
    """Return a function that does the same and shows its values."""

    async def run(*values: object) -> object:
        shower.arguments(names, values)
        return await _result(function(*values), shower)

    def call(*values: object) -> object:
        shower.arguments(names, values)
        try:
            returned = function(*values)
        except Exception as error:
            shower.error(error)
            raise
        if body in RESOURCES:
            return returned
        if isinstance(returned, Coroutine):
            return _result(cast("Coroutine[Any, Any, object]", returned), shower)
        shower.result(returned)
        return returned

    return run if body == Body.COROUTINE else call


async def _result(returned: object, shower: _Shower) -> object:
    try:
        artifact = await awaited(returned)
    except Exception as error:
        shower.error(error)
        raise
    shower.result(artifact)
    return artifact


def _text(value: object) -> str:
    if isinstance(value, (str, Exception)):
        return cut(str(value))
    brief = Repr()
    brief.maxstring = brief.maxother = MOST_BYTES
    brief.maxlist = brief.maxtuple = brief.maxdict = brief.maxset = brief.maxfrozenset = _MOST_MEMBERS
    return cut(brief.repr(value))

"""Ordinary calls of units: the function as written, with artifacts passed by the caller."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from fusynk._core.markers import Marker, source_name
from fusynk.errors import MissingArtifact


class CallGuard:
    """Stands between a caller and a unit's function, so that no marker ever reaches a body.

    Args:
        name: The unit's name, for errors.
    """

    __slots__ = ("_has_markers", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_markers: bool | None = None

    def __call__(
        self, wrapped: Callable[..., object], _instance: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Call the function, unless an artifact is missing.

        Raises:
            MissingArtifact: An argument is a marker, or was left out where the default is one.
        """
        if self._has_markers is None:
            self._has_markers = _has_markers(wrapped)
        if self._has_markers or any(isinstance(value, Marker) for value in (*args, *kwargs.values())):
            self._refuse_markers(wrapped, args, kwargs)
        return wrapped(*args, **kwargs)

    def _refuse_markers(
        self, wrapped: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
    ) -> None:
        given: dict[str, object] = {}
        with suppress(TypeError):  # wrong arguments: the call itself will say so
            bound = inspect.signature(wrapped).bind_partial(*args, **kwargs)
            bound.apply_defaults()
            given.update(bound.arguments)
        given.update(kwargs)
        given.update({f"argument {place}": value for place, value in enumerate(args, 1)})
        for parameter, value in given.items():
            if isinstance(value, Marker):
                message = (
                    f"{self._name}() was called without {parameter!r}, the artifact of {source_name(value)!r}; "
                    f"pass {parameter}=..., or run it in a plan."
                )
                raise MissingArtifact(message)


def _has_markers(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False
    return any(isinstance(parameter.default, Marker) for parameter in parameters)


def public_signature(function: Callable[..., object]) -> inspect.Signature:
    """Return the signature of an ordinary call: artifacts are required.

    A required parameter may not follow an optional one, so one that would is shown as passed by name.
    """
    parameters: list[inspect.Parameter] = []
    optional_before = False
    for parameter in inspect.signature(function).parameters.values():
        shown = parameter
        if isinstance(parameter.default, Marker):
            shown = parameter.replace(default=inspect.Parameter.empty)
        if shown.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            required = shown.default is inspect.Parameter.empty
            if optional_before and required:
                shown = shown.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            optional_before = optional_before or not required
        parameters.append(shown)
    in_legal_order = sorted(parameters, key=lambda parameter: parameter.kind)
    return inspect.signature(function).replace(parameters=in_legal_order)

"""Calls and replies as pickles: what the parent of a subprocess writes to its pipe, and what it reads from there."""

import pickle
import sys
from collections.abc import Callable, Sequence
from inspect import signature
from io import BytesIO
from types import MethodType
from typing import Any, Final, Literal, cast

from fusynk._core.current import RUN, STEP, milestone
from fusynk._core.importable import bound, leads_to, own_function, unwrapped, why_not_importable
from fusynk.errors import (
    AwaitableReturned,
    FusynkError,
    GeneratorReturned,
    RemoteError,
    RemoteTraceback,
    UnguardedScript,
    Unsendable,
)
from fusynk.executors.child import load, type_name_of
from fusynk.executors.messages import Answer, Main, Raised, Request, Returned, SentStep, Told, Unfit, Unread

_UNGUARDED: Final = f"{UnguardedScript.__module__}.{UnguardedScript.__qualname__}"


def packed(function: Callable[..., object], arguments: Sequence[object], name: str) -> bytes:
    """Return a call as the subprocess reads it.

    Args:
        function: The function, or the unit over it.
        arguments: Its positional arguments.
        name: How errors call it.

    Raises:
        Unsendable: The function or an argument cannot be pickled.
    """
    request = Request(
        function=_packed_function(function, name),
        arguments=_packed_arguments(function, arguments, name),
        main=_main(),
        step=_running_step(),
        carrier=_trace_context(),
    )
    return pickle.dumps(request, pickle.HIGHEST_PROTOCOL)


def unpacked(pickled: bytes, name: str) -> object:
    """Return what the function returned.

    Args:
        pickled: The reply of the subprocess.
        name: How errors call the function.

    Raises:
        BaseException: What the function raised, or what stands for it.
        Unsendable: The call or its result could not be sent.
    """
    answer = cast("Answer", load(pickled))
    for reported, values in answer.milestones:
        milestone(reported, **cast("dict[str, object]", _loaded_value(values, name)))
    match answer.reply:
        case Returned(value):
            return _loaded_value(value, name)
        case Raised(error, told):
            raise _loaded_error(error, told, name) from RemoteTraceback(told.traceback)
        case Unread(subject, told):
            raise _unread(subject, told, name) from RemoteTraceback(told.traceback)
        case Unfit() as unfit:
            raise _unfit(unfit, name)


def name_of(function: object) -> str:
    """Return how errors call a function."""
    name = cast("object", getattr(own_function(function), "__qualname__", None))
    return name if isinstance(name, str) else repr(function)


# The way there


class _FunctionPickler(pickle.Pickler):
    """Pickles functions that are decorated: their names lead to the unit, from which the function is taken."""

    def reducer_override(self, thing: object, /) -> Any:  # noqa: ANN401 - as the pickler declares it
        if type(thing) is MethodType:
            return bound, (own_function(thing.__func__), thing.__self__)
        if isinstance(thing, type) or not isinstance(getattr(thing, "__qualname__", None), str):
            return NotImplemented
        found = leads_to(thing)
        return (unwrapped, found) if found is not None and found[1] else NotImplemented


def _packed_function(function: Callable[..., object], name: str) -> bytes:
    reason = why_not_importable(function)
    if reason:
        message = f"{name!r} {reason}."
        raise Unsendable(message, subject="function")
    buffer = BytesIO()
    try:
        _FunctionPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(own_function(function))
    except Exception as error:
        message = f"{name!r} cannot be sent to a subprocess: {error}. What it is bound to must be picklable, too."
        raise Unsendable(message, subject="function") from error
    return buffer.getvalue()


def _packed_arguments(function: Callable[..., object], arguments: Sequence[object], name: str) -> bytes:
    try:
        return pickle.dumps(tuple(arguments), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        position = next((at for at, value in enumerate(arguments) if not _is_picklable(value)), None)
        if position is None:
            message = f"The arguments of {name!r} cannot be pickled together: {error}."
        else:
            message = (
                f"Argument {position + 1} of {name!r}{_parameter(function, position)} is a "
                f"{type_name_of(arguments[position])}, which cannot be sent to a subprocess: {error}. "
                "Pass plain values, and let the function open and make the rest."
            )
        raise Unsendable(message, subject="argument") from error


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - from anybody's __reduce__
        return False
    return True


def _parameter(function: Callable[..., object], position: int) -> str:
    try:
        return f", {list(signature(function).parameters)[position]!r},"
    except (ValueError, TypeError, IndexError):
        return ""


def _main() -> Main:
    """Return where a subprocess finds the main module."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    path = cast("object", getattr(main, "__file__", None))
    module = None if spec is None or spec.name == "__main__" else spec.name  # that is a folder, which has a file, too
    return Main(module, path if isinstance(path, str) else None, list(sys.argv))


def _running_step() -> SentStep | None:
    run, index = RUN.get(), STEP.get()
    if run is None or index is None:
        return None
    step = run.describe_step(index)
    return SentStep(run_id=step.run_id, name=step.name, attempt=step.attempt, depth=run.depth)


def _trace_context() -> dict[str, str]:
    """Return the trace context, if anybody has one: nothing is imported that is not in use."""
    context = sys.modules.get("opentelemetry.context")
    carrier: dict[str, str] = {}
    if context is not None and context.get_current():
        from opentelemetry import propagate  # noqa: PLC0415 - optional

        propagate.inject(carrier)
    return carrier


# The way back


def _loaded_value(pickled: bytes, name: str) -> object:
    try:
        return load(pickled)
    except Exception as error:
        message = f"The result of {name!r} arrived, but could not be read: {type_name_of(error)}: {error}"
        raise Unsendable(message) from error


def _loaded_error(pickled: bytes, told: Told, name: str) -> BaseException:
    try:
        error = load(pickled)
    except Exception:  # noqa: BLE001 - from anybody's __init__
        error = None
    if isinstance(error, BaseException) and type_name_of(error).rpartition(".")[2] == told.type_name.rpartition(".")[2]:
        return error
    return RemoteError(
        f"{name!r} raised {told.type_name}, which could not be sent from its subprocess: {told.text}",
        type_name=told.type_name,
        text=told.text,
        traceback=told.traceback,
    )


def _unread(subject: Literal["function", "arguments"], told: Told, name: str) -> FusynkError:
    if told.type_name == _UNGUARDED:
        return UnguardedScript(told.text)
    what = "could not be read in its subprocess"
    reason = f"{told.type_name}: {told.text.rstrip('.')}."
    if subject == "function":
        return Unsendable(f"{name!r} {what}: {reason}", subject="function")
    return Unsendable(f"An argument of {name!r} {what}: {reason}", subject="argument")


def _unfit(unfit: Unfit, name: str) -> Exception:
    returned = f"{name!r} returned a {unfit.type_name}"
    match unfit.kind:
        case "value":
            return Unsendable(
                f"{returned}, which cannot be sent from a subprocess: {unfit.reason}. Return plain values."
            )
        case "generator":
            return GeneratorReturned(
                f"{returned}, which runs nothing by itself; return a list, or the values themselves."
            )
        case "awaitable":
            return AwaitableReturned(
                f'{returned}, which nothing awaits in a subprocess; run it on the loop without run_in="subprocess", or '
                "let the function return the value."
            )

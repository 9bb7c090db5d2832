"""A wiring made ready to run: how each step is called, with what, and under which policy."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, cast

from fusynk._core.model import UNSET
from fusynk._core.options import PlanSettings, Policy, policy_of
from fusynk._core.signature import is_coroutine_function
from fusynk._core.unit import Override
from fusynk._core.wiring import Argument, Body, EdgeKind, Wiring
from fusynk.errors import InvalidPlan, PlanFault, UnknownParameter, UnstoppableTimeout

Getter = Callable[[Sequence[object]], Sequence[object]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """What a run needs, as parallel sequences over the steps.

    Attributes:
        wiring: The graph.
        settings: The plan's options.
        policies: Retries, timeout and the rest, for each step.
        functions: What to call with positional arguments only.
        bodies: How to call it, as bytes of `Body`.
        getters: Takes the arguments out of the cells; `None` for none.
        plain: 1 for each step that is a coroutine function whose arguments are all simply cells.
        replaced: The steps whose function was replaced as a whole.
        timed: Whether any step has a timeout.
    """

    wiring: Wiring
    settings: PlanSettings
    policies: tuple[Policy, ...]
    functions: tuple[Callable[..., Any], ...]
    bodies: bytes
    getters: tuple[Getter | None, ...]
    plain: bytes
    replaced: frozenset[int]
    timed: bool


def build_program(wiring: Wiring, settings: PlanSettings, overrides: Mapping[int, Override]) -> Program:
    """Return how to run a wiring under these settings.

    Args:
        wiring: The compiled graph.
        settings: The plan's options.
        overrides: Stand-ins by step.

    Raises:
        InvalidPlan: A step has a timeout that nothing could enforce, or a stand-in does not take its arguments.
    """
    bodies = bytearray(wiring.bodies)
    functions = list(wiring.functions)
    faults: list[PlanFault] = []
    for step, override in overrides.items():
        faults += _check_stand_in(wiring, step, override)
        functions[step], bodies[step] = _stand_in(override, bodies[step])
    policies = _policies(wiring, settings)
    faults += _unstoppable(wiring, policies, bodies, overrides)
    if faults:
        message = f"The plan has {len(faults)} {'fault' if len(faults) == 1 else 'faults'}:"
        raise InvalidPlan(message, faults)
    getters: list[Getter | None] = []
    plain = bytearray(len(functions))
    for step, arguments in enumerate(wiring.arguments):
        simple = step not in wiring.fan_outs and _is_simple(wiring.kinds[step], arguments)
        plain[step] = simple and bodies[step] == Body.COROUTINE
        getters.append(_getter(arguments) if simple else None)
        if any(argument.keyword for argument in arguments):
            functions[step] = _by_keyword(functions[step], arguments)
    return Program(
        wiring=wiring,
        settings=settings,
        policies=policies,
        functions=tuple(functions),
        bodies=bytes(bodies),
        getters=tuple(getters),
        plain=bytes(plain),
        replaced=frozenset(step for step, override in overrides.items() if override.verb != "calls"),
        timed=any(policy.timeout is not None for policy in policies),
    )


def _policies(wiring: Wiring, settings: PlanSettings) -> tuple[Policy, ...]:
    """Complete each unit's options; units that say the same share one policy."""
    shared: dict[int, Policy] = {}
    for options in wiring.options:
        if id(options) not in shared:
            shared[id(options)] = policy_of(options, settings)
    return tuple([shared[id(options)] for options in wiring.options])


def _unstoppable(
    wiring: Wiring, policies: Sequence[Policy], bodies: Sequence[int], overrides: Mapping[int, Override]
) -> list[PlanFault]:
    """Return a fault for each synchronous function with a timeout."""
    found: list[PlanFault] = []
    for step in wiring.steps():
        policy = policies[step]
        if policy.timeout is None or bodies[step] == Body.COROUTINE or step in overrides:
            continue
        if policy.abandon_on_timeout and bodies[step] == Body.THREAD:
            continue
        name, place = wiring.names[step], str(wiring.locations[step])
        inline = bodies[step] == Body.INLINE
        message = (
            f"{name!r} ({place}) has timeout={policy.timeout:g}, but it is a plain function run "
            f"{'inline' if inline else 'in a thread'}, which nothing can stop. Make it async, set timeout=None, or"
            f"{' run it in a thread with' if inline else ' say'} abandon_on_timeout=True."
        )
        found.append(UnstoppableTimeout(message, unit=name, location=place))
    return found


def _is_simple(kinds: bytes, arguments: Sequence[Argument]) -> bool:
    """Tell whether every argument is just what its cell holds."""
    special = (EdgeKind.DEFAULT, EdgeKind.OUTCOME, EdgeKind.MEMBER)
    return not any(argument.edge >= 0 and kinds[argument.edge] in special for argument in arguments)


def _getter(arguments: Sequence[Argument]) -> Getter | None:
    """Return what takes the arguments out of the cells; the standard library's getter is the fastest there is."""
    cells = [argument.cell for argument in arguments]
    if not cells:
        return None
    if len(cells) == 1:
        return itemgetter(slice(cells[0], cells[0] + 1))
    return itemgetter(*cells)


def _by_keyword(function: Callable[..., object], arguments: Sequence[Argument]) -> Callable[..., object]:
    """Let a function with keyword-only parameters be called with positions."""
    names = tuple(argument.parameter for argument in arguments if argument.keyword)
    positions = [place for place, argument in enumerate(arguments) if not argument.keyword]
    keywords = [place for place, argument in enumerate(arguments) if argument.keyword]

    def call(*values: object) -> object:
        named = {name: values[place] for name, place in zip(names, keywords, strict=True)}
        return function(*[values[place] for place in positions], **named)

    return call


def _stand_in(override: Override, body: int) -> tuple[Callable[..., object], int]:
    """Return the function that stands in, and how it is called. A plain function runs inline: it is a test's."""
    value = override.value
    if override.verb == "calls":
        function = cast("Callable[..., object]", value)
        return function, Body.COROUTINE if is_coroutine_function(function) else Body.INLINE

    async def stand_in(*_: object, **__: object) -> object:
        if override.verb == "returns":
            return value
        raise cast("BaseException", value() if isinstance(value, type) else copy.copy(value))

    return stand_in, Body.COROUTINE if body != Body.BARRIER else body


def _check_stand_in(wiring: Wiring, step: int, override: Override) -> list[PlanFault]:
    """Return a fault if a replacing function does not take the step's arguments."""
    if override.verb != "calls":
        return []
    function = cast("Callable[..., object]", override.value)
    positional = [argument.parameter for argument in wiring.arguments[step] if not argument.keyword]
    keywords = {argument.parameter: UNSET for argument in wiring.arguments[step] if argument.keyword}
    try:
        inspect.signature(function).bind(*positional, **keywords)
    except TypeError as error:
        name = wiring.names[step]
        message = (
            f"{name!r}.calls({getattr(function, '__name__', function)!r}): {error}; "
            f"it is called with ({', '.join([*positional, *keywords])})."
        )
        return [UnknownParameter(message, unit=name, location=str(wiring.locations[step]))]
    except ValueError:
        return []
    return []

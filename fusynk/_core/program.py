"""A wiring made ready to run: how each step is called, with what, and under which policy."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from fusynk._core.callables import is_coroutine_function, is_generator_function
from fusynk._core.compensation import Compensation, compensations_of
from fusynk._core.faults import Faults
from fusynk._core.layer import Override
from fusynk._core.model import UNSET
from fusynk._core.options import PER_RUN, PlanSettings, Policy, policy_of
from fusynk._core.signature import Parameter
from fusynk._core.unit import Unit
from fusynk._core.wiring import RESOURCES, Body, EdgeKind, Wiring
from fusynk.errors import UnknownParameter, UnstoppableTimeout, shown

if TYPE_CHECKING:
    from fusynk._core.recording import Recording
    from fusynk._core.registry import AnyLayer

Getter = Callable[[Sequence[object]], Sequence[object]]
_STOPPABLE = frozenset({Body.COROUTINE, Body.SUBPROCESS, Body.RESOURCE})
_SPECIAL = frozenset({EdgeKind.DEFAULT, EdgeKind.OUTCOME, EdgeKind.MEMBER})


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
        replaced: The steps that return a given artifact; a fan-out among them does not expand.
        overrides: What stands in for functions, by step.
        timed: Whether any step has a timeout.
        compensations: What undoes steps.
        has_resources: Whether any step is a resource.
        recording: How its runs are recorded, if they are.
    """

    wiring: Wiring
    settings: PlanSettings
    policies: tuple[Policy, ...]
    functions: tuple[Callable[..., Any], ...]
    bodies: bytes
    getters: tuple[Getter | None, ...]
    plain: bytes
    replaced: frozenset[int]
    overrides: Mapping[int, Override]
    timed: bool
    compensations: Mapping[int, Compensation]
    has_resources: bool
    recording: "Recording | None" = None


def build_program(wiring: Wiring, settings: PlanSettings, overrides: Mapping[int, Override]) -> Program:
    """Return how to run a wiring under these settings.

    Args:
        wiring: The compiled graph.
        settings: The plan's options.
        overrides: Stand-ins by step.

    Raises:
        InvalidPlan: A step has a timeout that nothing could enforce, or a stand-in does not take its arguments.
    """
    faults = Faults()
    bodies, functions = bytearray(wiring.bodies), list(wiring.functions)
    for step, override in overrides.items():
        _check_stand_in(wiring, step, override, faults)
        functions[step], bodies[step] = _stand_in(override, bodies[step])
    policies = _policies(wiring, settings)
    _check_timeouts(wiring, policies, overrides, faults)
    faults.raise_all()
    getters: list[Getter | None] = []
    plain = bytearray(len(functions))
    for step, kinds in enumerate(wiring.kinds):
        simple = step not in wiring.fan_outs and _SPECIAL.isdisjoint(kinds)
        plain[step] = simple and bodies[step] == Body.COROUTINE and policies[step].limit is None
        getters.append(_getter(wiring.cells_of(step)) if simple else None)
        if any(parameter.keyword_only for parameter in wiring.parameters[step]):
            functions[step] = ByKeyword(functions[step], wiring.parameters[step])
    program = Program(
        wiring=wiring,
        settings=settings,
        policies=policies,
        functions=tuple(functions),
        bodies=bytes(bodies),
        getters=tuple(getters),
        plain=bytes(plain),
        replaced=frozenset(step for step, override in overrides.items() if override.verb == "returns"),
        overrides=overrides,
        timed=any(policy.timeout is not None for policy in policies),
        compensations=compensations_of(wiring),
        has_resources=not RESOURCES.isdisjoint(bodies),
    )
    return _recorded(program)


def with_settings(program: Program, settings: PlanSettings, changed: Collection[str]) -> Program:
    """Return a program under other settings.

    Args:
        program: The program.
        settings: The plan's options, as they are now.
        changed: The names of those that are other ones.

    Raises:
        InvalidPlan: They do not go with a unit.
    """
    if not PER_RUN.issuperset(changed):
        return build_program(program.wiring, settings, program.overrides)
    return _recorded(replace(program, settings=settings))


def _recorded(program: Program) -> Program:
    """Complete a program by how its runs are recorded; that is found out once for one codec."""
    journal = program.settings.journal
    former = program.recording
    if journal is None or (former is not None and former.codec is journal.codec):
        return program
    from fusynk._core.recording import recording_of  # noqa: PLC0415 - for those who use a journal

    return replace(program, recording=recording_of(program, journal.codec))


def _policies(wiring: Wiring, settings: PlanSettings) -> tuple[Policy, ...]:
    """Complete each unit's options; units that say the same share one policy."""
    shared: dict[int, Policy] = {}
    for options in wiring.options:
        if id(options) not in shared:
            shared[id(options)] = policy_of(options, settings)
    return tuple([shared[id(options)] for options in wiring.options])


def _check_timeouts(
    wiring: Wiring, policies: Sequence[Policy], overrides: Mapping[int, Override], faults: Faults
) -> None:
    """Note each plain function with a timeout. Stand-ins are a test's, and may be plain."""
    for step in wiring.steps():
        problem = unstoppable(policies[step], wiring.bodies[step]) if step not in overrides else ""
        if problem:
            faults.add(UnstoppableTimeout, _unit(wiring, step), problem)


def unstoppable(policy: Policy, body: int) -> str:
    """Return why a step's timeout could not be enforced, or an empty text."""
    if policy.timeout is None or body in _STOPPABLE or (policy.abandon_on_timeout and body == Body.THREAD):
        return ""
    if body == Body.THREAD_RESOURCE:
        return (
            f"has timeout={policy.timeout:g}, but it is a plain generator run in threads, which nothing can stop. "
            "Make it async, or set timeout=None."
        )
    place, instead = ("in a thread", "say") if body == Body.THREAD else ("inline", "run it in a thread with")
    return (
        f"has timeout={policy.timeout:g}, but it is a plain function run {place}, which nothing can stop. "
        f'Make it async, set timeout=None, run it in an OS process with run_in="subprocess", or {instead} '
        "abandon_on_timeout=True."
    )


def _unit(wiring: Wiring, step: int) -> Unit:
    return cast("AnyLayer", wiring.layers[step]).unit


def _getter(cells: Sequence[int]) -> Getter | None:
    """Return what takes the arguments out of the cells; the standard library's getter is the fastest there is."""
    if not cells:
        return None
    if len(cells) == 1:
        return itemgetter(slice(cells[0], cells[0] + 1))
    return itemgetter(*cells)


class ByKeyword:
    """Calls a function that has keyword-only parameters with positions. Those parameters come last in any signature.

    Args:
        function: The function.
        parameters: Its parameters.
    """

    def __init__(self, function: Callable[..., object], parameters: Sequence[Parameter]) -> None:
        self._function = function
        self._names = [parameter.name for parameter in parameters if parameter.keyword_only]
        self._positional = len(parameters) - len(self._names)

    def __call__(self, *values: object) -> object:
        """Call the function."""
        function, positional = self.bound(values)
        return function(*positional)

    def bound(self, values: Sequence[object]) -> tuple[Callable[..., object], Sequence[object]]:
        """Return the function with its keywords, and what is left to be passed by position."""
        keywords = dict(zip(self._names, values[self._positional :], strict=True))
        return partial(self._function, **keywords), values[: self._positional]


def _stand_in(override: Override, body: int) -> tuple[Callable[..., object], int]:
    """Return the function that stands in, and how it is called. A plain function runs inline: it is a test's."""
    value = override.value
    if override.verb == "calls":
        function = cast("Callable[..., object]", value)
        if is_generator_function(function):
            return function, Body.RESOURCE
        return function, Body.COROUTINE if is_coroutine_function(function) else Body.INLINE

    async def stand_in(*_: object, **__: object) -> object:
        if override.verb == "returns":
            return value
        raise _copied(cast("BaseException | type[BaseException]", value))

    return stand_in, Body.COROUTINE if body != Body.BARRIER else body


def _copied(error: BaseException | type[BaseException]) -> BaseException:
    """Return a fresh exception for one attempt, made without `__init__`, which may take other arguments."""
    if isinstance(error, type):
        return error()
    try:
        twin = type(error).__new__(type(error), *error.args)
        vars(twin).update(vars(error))
    except Exception:  # noqa: BLE001 - an exception that cannot be copied is raised itself
        return error
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin


def _check_stand_in(wiring: Wiring, step: int, override: Override, faults: Faults) -> None:
    """Note a replacing function that does not take the step's arguments."""
    if override.verb != "calls":
        return
    function = cast("Callable[..., object]", override.value)
    positional = [parameter.name for parameter in wiring.parameters[step] if not parameter.keyword_only]
    keywords = {parameter.name: UNSET for parameter in wiring.parameters[step] if parameter.keyword_only}
    try:
        signature = inspect.signature(function)
    except ValueError:
        return
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        names = ", ".join([*positional, *keywords])
        message = f"cannot be replaced by {shown(function)}: {error}; it is called with ({names})."
        faults.add(UnknownParameter, _unit(wiring, step), message)

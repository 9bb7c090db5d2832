"""Every exception of fusynk, in one tree.

FusynkError
├── DeclarationError                 raised by a decorator or a builder call
│   ├── UnknownOption (TypeError)    no such option; the nearest name is suggested
│   ├── InvalidOption (ValueError)   an option has a value it cannot have
│   └── InvalidDeclaration (TypeError)  what is declared cannot be a unit
├── MissingArtifact (TypeError)      an ordinary call misses an artifact, or passes a marker
├── InvalidPlan (ExceptionGroup)     every fault that compile_plan found, at once
├── PlanFault                        one fault of a graph
│   ├── UnknownDependency, DependencyCycle, DuplicateName, UnknownParameter
│   ├── MissingInput, InputConflict, IncompatibleEdge
│   └── MisplacedEach, UnstoppableTimeout, ModeContradiction
├── InvalidInputs (TypeError)        run() got other inputs than the plan takes
├── LoopRunning (RuntimeError)       run_sync() inside a running event loop
├── NestingTooDeep (RecursionError)  runs nested more than 100 deep
├── UnknownStep (LookupError)        a run or a plan has no such step
├── ArtifactUnavailable (LookupError)  a step ended without an artifact
├── RunCancelled                     the handle cancelled this run
├── LayerTimeout (TimeoutError)      an attempt took longer than its timeout
├── DeadlineExceeded (TimeoutError)  a run took longer than its deadline
├── GeneratorReturned (TypeError)    a body returned a generator
├── StrayCancellation                a body raised CancelledError although nobody cancelled
└── ThreadsExhausted                 abandoned threads hold every thread of the run
"""

from collections.abc import Sequence


class FusynkError(Exception):
    """The root of every exception that fusynk raises by itself."""


class DeclarationError(FusynkError):
    """A unit was declared in a way that cannot work."""


class UnknownOption(DeclarationError, TypeError):
    """An option that does not exist."""


class InvalidOption(DeclarationError, ValueError):
    """An option has a value that it cannot have."""


class InvalidDeclaration(DeclarationError, TypeError):
    """What was decorated, or how, cannot become a unit."""


class MissingArtifact(FusynkError, TypeError):
    """An ordinary call of a unit left out an artifact, or passed the marker instead of a value."""


class PlanFault(FusynkError):
    """One fault of a graph, found at compile time.

    Attributes:
        unit: The name of the unit at fault, or `None` when the plan as a whole is.
        location: `file.py:line` of that unit, or an empty string.
    """

    def __init__(self, message: str, *, unit: str | None = None, location: str = "") -> None:
        super().__init__(message)
        self.unit = unit
        self.location = location


class UnknownDependency(PlanFault):
    """A unit depends on a name that nothing declares."""


class DependencyCycle(PlanFault):
    """Units wait for each other in a circle.

    Attributes:
        cycle: The names in order; the first is repeated at the end.
    """

    def __init__(self, message: str, *, cycle: tuple[str, ...], unit: str, location: str) -> None:
        super().__init__(message, unit=unit, location=location)
        self.cycle = cycle


class DuplicateName(PlanFault):
    """Two units of one plan share a name."""


class UnknownParameter(PlanFault):
    """`bind=` or an override names a parameter that the function does not have."""


class MissingInput(PlanFault):
    """The declared inputs lack a value that a unit needs."""


class InputConflict(PlanFault):
    """Two units want one input with incompatible types or different defaults."""


class IncompatibleEdge(PlanFault):
    """An artifact has a type that the parameter it is passed to cannot take."""


class MisplacedEach(PlanFault):
    """`each(...)` where no fan-out is declared, or a fan-out without it."""


class UnstoppableTimeout(PlanFault):
    """A timeout on a function that runs in a thread, which nothing can stop."""


class ModeContradiction(PlanFault):
    """The run mode of a process orders its members against their own edges."""


class InvalidPlan(ExceptionGroup[PlanFault], FusynkError):
    """All faults of a graph. `exceptions` holds a `PlanFault` for each."""

    def derive(self, excs: Sequence[PlanFault], /) -> "InvalidPlan":  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep the type when the group is split; it never holds anything but faults."""
        return InvalidPlan(self.message, excs)

    def __str__(self) -> str:
        """Tell every fault, one line each."""
        lines = [f"  {type(fault).__name__}: {fault}" for fault in self.exceptions]
        return "\n".join([self.message, *lines])


class InvalidInputs(FusynkError, TypeError):
    """The inputs of a run are missing, unknown or of the wrong kind."""


class LoopRunning(FusynkError, RuntimeError):
    """`run_sync` was called where an event loop runs already."""


class NestingTooDeep(FusynkError, RecursionError):
    """Runs start runs without end."""


class UnknownStep(FusynkError, LookupError):
    """A name or a unit that the plan does not contain."""


class ArtifactUnavailable(FusynkError, LookupError):
    """A step ended without an artifact; the cause is the error behind it."""


class RunCancelled(FusynkError):
    """The run was cancelled through its handle."""


class LayerTimeout(FusynkError, TimeoutError):
    """One attempt of a step took longer than its timeout."""


class DeadlineExceeded(FusynkError, TimeoutError):
    """The run took longer than its deadline."""


class GeneratorReturned(FusynkError, TypeError):
    """A body returned a generator, which is no artifact."""


class StrayCancellation(FusynkError):
    """A body raised the event loop's cancellation although nobody had cancelled it."""


class ThreadsExhausted(FusynkError):
    """Every thread of the run is held by a body that was given up after its timeout."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known name, or an empty string."""
    from difflib import get_close_matches  # noqa: PLC0415 - only errors need it

    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def shown(value: object) -> str:
    """Return a value as an error names it: a unit, function or class by its quoted name, anything else as it prints."""
    name = getattr(getattr(value, "unit", value), "name", None)
    if not isinstance(name, str):
        name = getattr(value, "__name__", None)
    return repr(name) if isinstance(name, str) else repr(value)

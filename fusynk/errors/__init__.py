"""Every exception of fusynk, in one tree.

FusynkError
├── DeclarationError                 raised by a decorator or a builder call
│   ├── UnknownOption (TypeError)    no such option; the nearest name is suggested
│   ├── InvalidOption (ValueError)   an option has a value it cannot have
│   ├── InvalidDeclaration (TypeError)  what is declared cannot be a unit
│   └── CronUnavailable (ImportError)  the library that reads cron expressions is not installed
├── MissingArtifact (TypeError)      an ordinary call misses an artifact, or passes a marker
├── InvalidPlan (ExceptionGroup)     every fault that compile_plan found, at once
├── PlanFault                        one fault of a graph
│   ├── UnknownDependency, DependencyCycle, DuplicateName, UnknownParameter
│   ├── MissingInput, InputConflict, IncompatibleEdge
│   ├── MisplacedEach, UnstoppableTimeout, ModeContradiction, NotImportable
│   └── UnrecordableUnit
├── InvalidInputs (TypeError)        run() got other inputs than the plan takes
├── InvalidItems (TypeError)         run_items() got no items that it could go over, or a key that cannot be one
├── DuplicateKey (ValueError)        run_items() got two items of one key
├── UnsavableGraph                   a graph holds what no file can name; nothing was written
├── GraphFileError                   a graph file is refused
├── LoopRunning (RuntimeError)       run_sync() inside a running event loop
├── NestingTooDeep (RecursionError)  runs nested more than 100 deep
├── UnknownStep (LookupError)        a run or a plan has no such step
├── ArtifactUnavailable (LookupError)  a step ended without an artifact
├── RunCancelled                     the handle cancelled this run
├── LayerTimeout (TimeoutError)      an attempt took longer than its timeout
├── DeadlineExceeded (TimeoutError)  a run took longer than its deadline
├── TeardownTimeout (TimeoutError)   a teardown took longer than the grace
├── StrayCancellation                a body raised CancelledError although nobody cancelled
├── ThreadsExhausted                 abandoned threads hold every thread of the run
├── Unrepeatable                     what another attempt would only do once more; never retried
│   ├── GeneratorReturned (TypeError)   a body returned a generator
│   ├── ResourceMisused (RuntimeError)  a resource's generator yielded never or twice, or ended before its run
│   ├── Unsendable (TypeError)          a function, an argument or a result cannot be sent to or from a subprocess
│   ├── AwaitableReturned (TypeError)   a function in a subprocess returned what nothing there could await
│   ├── ItemsChanged (RuntimeError)     a fan-out of a resumed run goes over fewer items than before
│   ├── Unstorable (TypeError)       an artifact cannot be kept in a journal, or would come back as something else
│   └── UnguardedScript (RuntimeError)  a script starts a run while a subprocess imports it
├── ManagerError                     a manager does not do what it was asked for
│   ├── UnknownUnit (LookupError)    no such unit is registered
│   ├── AlreadyRegistered            the name is taken
│   ├── UnitRunning                  the unit runs already, or still
│   ├── UnitPaused                   the unit is paused
│   ├── UnitDisabled                 the unit is disabled
│   ├── ManagerStopped               the manager has been stopped
│   └── PieceError                   a pool cannot do that with a piece of work
│       ├── DuplicatePiece (ValueError)  a piece of that name waits or runs
│       ├── UnknownPiece (LookupError)   the pool has no piece of that name
│       └── PieceNotWaiting (RuntimeError)  the piece runs, or has ended
├── StoreError                       the store of a manager cannot be read or written
│   ├── DamagedStore                 its file is torn or was changed
│   ├── ForeignStore                 its file belongs to something else
│   ├── NewerStore                   its file was written by a later version of fusynk
│   ├── StoreLocked                  somebody else has it open
│   ├── StoreUnavailable             the system refuses: no permission, no space, no such folder, a fault of the disk
│   └── StoreClosed                  it is not open
├── JournalError                     a journal cannot be read or written, or does not do what it was asked for
│   ├── DamagedJournal               its file or a record is torn or was changed
│   ├── ForeignJournal               its file belongs to something else
│   ├── NewerJournal                 its file or a record was written by a later version of fusynk
│   ├── JournalUnavailable           the system refuses: no permission, no space, no such folder, a fault of the disk
│   ├── JournalClosed                it, or the run in it, is not open
│   ├── UnknownRun (LookupError)     it has no run of that id
│   ├── PlanMismatch                 the run was begun by another plan, or with other inputs
│   ├── RunLocked                    somebody else has the run
│   └── RunTakenOver                 somebody else took the run over from an owner that was silent for too long
├── StoredError                      stands for an error that was read from a journal and could not be made anew
├── PieceCancelled                   the piece of work was cancelled before it ended
├── WorkerDied                       a subprocess ended while a function ran in it
├── RemoteError                      stands for an error that could not be sent from a subprocess
└── RemoteTraceback                  where in a subprocess an error was raised; only ever its cause
"""

from collections.abc import Sequence
from typing import Literal

from fusynk.errors.journalling import DamagedJournal as DamagedJournal
from fusynk.errors.journalling import ForeignJournal as ForeignJournal
from fusynk.errors.journalling import JournalClosed as JournalClosed
from fusynk.errors.journalling import JournalError as JournalError
from fusynk.errors.journalling import JournalUnavailable as JournalUnavailable
from fusynk.errors.journalling import NewerJournal as NewerJournal
from fusynk.errors.journalling import PlanMismatch as PlanMismatch
from fusynk.errors.journalling import RunLocked as RunLocked
from fusynk.errors.journalling import RunTakenOver as RunTakenOver
from fusynk.errors.journalling import StoredError as StoredError
from fusynk.errors.journalling import UnknownRun as UnknownRun
from fusynk.errors.journalling import Unstorable as Unstorable
from fusynk.errors.managing import AlreadyRegistered as AlreadyRegistered
from fusynk.errors.managing import DamagedStore as DamagedStore
from fusynk.errors.managing import DuplicatePiece as DuplicatePiece
from fusynk.errors.managing import ForeignStore as ForeignStore
from fusynk.errors.managing import ManagerError as ManagerError
from fusynk.errors.managing import ManagerStopped as ManagerStopped
from fusynk.errors.managing import NewerStore as NewerStore
from fusynk.errors.managing import PieceCancelled as PieceCancelled
from fusynk.errors.managing import PieceError as PieceError
from fusynk.errors.managing import PieceNotWaiting as PieceNotWaiting
from fusynk.errors.managing import StoreClosed as StoreClosed
from fusynk.errors.managing import StoreError as StoreError
from fusynk.errors.managing import StoreLocked as StoreLocked
from fusynk.errors.managing import StoreUnavailable as StoreUnavailable
from fusynk.errors.managing import UnitDisabled as UnitDisabled
from fusynk.errors.managing import UnitPaused as UnitPaused
from fusynk.errors.managing import UnitRunning as UnitRunning
from fusynk.errors.managing import UnknownPiece as UnknownPiece
from fusynk.errors.managing import UnknownUnit as UnknownUnit
from fusynk.errors.root import FusynkError as FusynkError
from fusynk.errors.root import Unrepeatable as Unrepeatable


class DeclarationError(FusynkError):
    """A unit was declared in a way that cannot work."""


class UnknownOption(DeclarationError, TypeError):
    """An option that does not exist."""


class InvalidOption(DeclarationError, ValueError):
    """An option has a value that it cannot have."""


class InvalidDeclaration(DeclarationError, TypeError):
    """What was decorated, or how, cannot become a unit."""


class CronUnavailable(DeclarationError, ImportError):
    """The library that reads cron expressions is not installed."""


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


class NotImportable(PlanFault):
    """A function for an OS process cannot be imported there."""


class UnrecordableUnit(PlanFault):
    """The artifacts or inputs of a unit could not be read back from a journal."""


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


class InvalidItems(FusynkError, TypeError):
    """`run_items` got what are no items, or a key that cannot be one. Nothing ran."""


class DuplicateKey(FusynkError, ValueError):
    """`run_items` got two items of one key. Nothing ran.

    Attributes:
        key: The key.
    """

    def __init__(self, message: str, *, key: object) -> None:
        super().__init__(message)
        self.key = key


class UnsavableGraph(FusynkError):
    """A graph holds what a file cannot name, such as lambdas and partials.

    Attributes:
        problems: What it is, all of it, a sentence each.
    """

    def __init__(self, message: str, *, problems: tuple[str, ...]) -> None:
        super().__init__(message)
        self.problems = problems


class GraphFileError(FusynkError):
    """A graph file is damaged, hostile, too large, of a newer version, or names what it may not.

    Attributes:
        path: The file.
        where: The place in it, as in "$.units[3].options.retries"; empty for the file as a whole.
    """

    def __init__(self, message: str, *, path: str, where: str) -> None:
        super().__init__(message)
        self.path = path
        self.where = where


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


class GeneratorReturned(Unrepeatable, TypeError):
    """A body returned a generator, which is no artifact."""


class ResourceMisused(Unrepeatable, RuntimeError):
    """The generator of a resource yielded never or twice, or ended before its run did."""


class TeardownTimeout(FusynkError, TimeoutError):
    """The teardown of a resource took longer than the plan's grace."""


class StrayCancellation(FusynkError):
    """A body raised the event loop's cancellation although nobody had cancelled it."""


class ThreadsExhausted(FusynkError):
    """Every thread of the run is held by a body that was given up after its timeout."""


class ItemsChanged(Unrepeatable, RuntimeError):
    """A fan-out of a run that is resumed goes over fewer items than before."""


class Unsendable(Unrepeatable, TypeError):
    """A function, an argument or a result cannot be pickled, so it cannot be sent to or from a subprocess.

    Attributes:
        subject: Which of them.
    """

    def __init__(self, message: str, *, subject: Literal["function", "argument", "result"] = "result") -> None:
        super().__init__(message)
        self.subject = subject


class AwaitableReturned(Unrepeatable, TypeError):
    """A function in a subprocess returned a coroutine or the like, which nothing there could await."""


class UnguardedScript(Unrepeatable, RuntimeError):
    """A script starts a run outside `if __name__ == "__main__":` while a subprocess imports it."""


class WorkerDied(FusynkError):
    """A subprocess ended while a function ran in it.

    Attributes:
        exit_code: The code it ended with, or `None`.
        signal: The number of the signal that killed it, or `None`.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class RemoteError(FusynkError):
    """Stands for an error that could not be sent from a subprocess.

    Attributes:
        type_name: The full name of the error's class.
        text: What it says.
        traceback: Where it was raised.
    """

    def __init__(self, message: str, *, type_name: str = "", text: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.text = text
        self.traceback = traceback


class RemoteTraceback(FusynkError):
    """The traceback of an error in a subprocess, as the cause of that error here."""

    def __str__(self) -> str:
        """Stand apart from the traceback around it."""
        return f'\n"""\n{self.args[0]}"""' if self.args else ""


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


for _kind in (FusynkError, Unrepeatable):
    _kind.__module__ = __name__  # where users import them from

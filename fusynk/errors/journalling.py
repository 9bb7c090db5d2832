"""What journals raise, and what stands for an error that was read from one."""

from fusynk.errors.root import FusynkError, Unrepeatable


class JournalError(FusynkError):
    """A journal cannot be read or written, or does not do what it was asked for.

    Attributes:
        path: Its file; empty for a journal that has none.
        run_id: The id of the run it is about, or `None`.
    """

    def __init__(self, message: str, *, path: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.run_id = run_id


class DamagedJournal(JournalError):
    """The file of a journal, or a record in it, is torn or was changed by something else."""


class ForeignJournal(JournalError):
    """The file is no journal of fusynk."""


class NewerJournal(JournalError):
    """The file, or a record in it, was written by a later version of fusynk."""


class JournalUnavailable(JournalError):
    """The system refuses to read or write the file; the cause says why. What was to be written is not there."""


class JournalClosed(JournalError):
    """The journal, or the run in it, is not open here."""


class UnknownRun(JournalError, LookupError):
    """The journal has no run of that id."""


class PlanMismatch(JournalError):
    """The run was begun by another plan, or with other inputs. It was left as it is.

    Attributes:
        added: The steps that only this plan has.
        removed: The steps that only the plan of the run has.
        changed: What else differs, a phrase each.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str,
        run_id: str,
        added: tuple[str, ...] = (),
        removed: tuple[str, ...] = (),
        changed: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, path=path, run_id=run_id)
        self.added = added
        self.removed = removed
        self.changed = changed


class RunLocked(JournalError):
    """Somebody else has the run.

    Attributes:
        owner: Who that is, as the owner calls itself, or `None` if that is not known.
    """

    def __init__(self, message: str, *, path: str, run_id: str | None = None, owner: str | None = None) -> None:
        super().__init__(message, path=path, run_id=run_id)
        self.owner = owner


class RunTakenOver(JournalError):
    """Somebody else took the run over, because its owner had been silent for too long; nothing more is written."""


class Unstorable(Unrepeatable, TypeError):
    """An artifact cannot be kept in a journal, or would come back as something else.

    Attributes:
        step: The name of the step that returned it; empty before any step did.
        type_name: The type of the artifact, or what is annotated if that is at fault.
        size: How many bytes it takes, or `None` if it cannot be written at all.
        found: What is wrong with its value, if that is known.
    """

    def __init__(self, message: str, *, step: str, type_name: str, size: int | None = None, found: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.step = step
        self.type_name = type_name
        self.size = size


class StoredError(FusynkError):
    """Stands for an error that was read from a journal and could not be made anew.

    Attributes:
        type_name: The import path of its class.
        text: What it says.
    """

    def __init__(self, message: str, *, type_name: str, text: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.text = text

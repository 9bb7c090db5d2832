"""What a parent and its subprocess send each other."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fusynk._core.current import StepContext

LENGTH_BYTES = 8  # before each message
READ_AT_ONCE = 1 << 18  # asking for a whole message would allocate its size for each piece that is there already


@dataclass(slots=True, kw_only=True)  # not frozen, in the shape of a run
class SentStep:
    """What `current_step()` answers in the subprocess.

    Attributes:
        run_id: The id of the run.
        name: The step's name.
        attempt: Which attempt this is, from 1.
        depth: How deep the run is nested in others.
        milestones: What the body has reported: names, and their values pickled.
    """

    run_id: str
    name: str
    attempt: int
    depth: int
    milestones: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])

    def note_milestone(self, index: int, name: str, values: Mapping[str, object]) -> None:  # noqa: ARG002 - as above
        """Keep what the body reports; it goes to the parent with the reply."""
        self.milestones.append((name, pickle.dumps(dict(values), pickle.HIGHEST_PROTOCOL)))

    def describe_step(self, index: int) -> StepContext:  # noqa: ARG002 - the shape of a run
        """Return what the body may know. It is killed instead of being asked to stop."""
        return StepContext(run_id=self.run_id, name=self.name, attempt=self.attempt, _asked_to_stop=lambda: False)


@dataclass(frozen=True, slots=True)
class Main:
    """The parent's main module, which is imported when something of it is needed.

    Attributes:
        module: Its import path, if it was started by `python -m`.
        path: Its file, if there is one.
        arguments: The parent's command line.
    """

    module: str | None
    path: str | None
    arguments: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call.

    Attributes:
        function: The function, pickled.
        arguments: Its positional arguments, pickled.
        main: Where names of `__main__` are found.
        step: The running step, if there is one.
        carrier: The trace context, for OpenTelemetry's propagators.
    """

    function: bytes
    arguments: bytes
    main: Main
    step: SentStep | None
    carrier: dict[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of an error.

    Attributes:
        type_name: Its class.
        text: What it says.
        traceback: Where it was raised, formatted.
    """

    type_name: str
    text: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The function returned this, pickled."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised this, pickled; empty if that is impossible."""

    error: bytes
    told: Told


@dataclass(frozen=True, slots=True)
class Unread:
    """The function or its arguments could not be read, so nothing was called."""

    subject: Literal["function", "arguments"]
    told: Told


@dataclass(frozen=True, slots=True)
class Unfit:
    """The function returned what cannot be sent; `reason` is the pickler's, if it was asked."""

    type_name: str
    kind: Literal["value", "awaitable", "generator"]
    reason: str = ""


Reply: TypeAlias = Returned | Raised | Unread | Unfit


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and the milestones that the body reported before it."""

    reply: Reply
    milestones: list[tuple[str, bytes]]

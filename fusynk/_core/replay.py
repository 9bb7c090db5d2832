"""What the records of a run say of where it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from fusynk._core.envelope import Record
from fusynk._core.model import UNRECORDED, SkipCause, Skipped, Status
from fusynk._core.recording import Recording
from fusynk.errors import DamagedJournal

if TYPE_CHECKING:
    from fusynk._core.wiring import Wiring

NO_CODEC: Final = "none"
"""The codec in the record of a step whose artifact is not recorded."""


class Known(NamedTuple):
    """How a step or an item ended.

    Attributes:
        state: Its status.
        value: Its artifact, its error, or its outcome where it was skipped.
        is_recovered: Whether the artifact came from its `on_error`.
    """

    state: Status
    value: object
    is_recovered: bool = False


class BreakOff(NamedTuple):
    """What broke a run off.

    Attributes:
        step: The step or item at fault; empty for the deadline.
        error: Its error.
    """

    step: str
    error: BaseException


class _SkipReason(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    because: str
    cause: SkipCause


@dataclass(slots=True)
class Replay:
    """What the records of a run say.

    Attributes:
        steps: How steps ended, by step.
        items: How items ended, by fan-out and number.
        attempts: How many attempts failed of what has not ended, by name.
        order: The names of what ended, in that order.
        broken_off: What broke the run off, if nothing came after that but compensations.
        compensated: The names of what was undone, in that order.
        is_over: Whether the run went to its end; nothing is to be done but to give its outcomes back.
        lost_steps: As `steps`, the resources that were set up in a process that is not there any more.
        lost_items: As `items`, such resources.
    """

    steps: dict[int, Known] = field(default_factory=dict[int, Known])
    items: dict[int, dict[int, Known]] = field(default_factory=dict[int, dict[int, Known]])
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    order: list[str] = field(default_factory=list[str])
    broken_off: BreakOff | None = None
    compensated: list[str] = field(default_factory=list[str])
    is_over: bool = False
    lost_steps: dict[int, Known] = field(default_factory=dict[int, Known])
    lost_items: dict[int, dict[int, Known]] = field(default_factory=dict[int, dict[int, Known]])


def replay_of(records: Iterable[Record], status: str, wiring: "Wiring", recording: Recording) -> Replay:
    """Return what the records of a run say.

    Args:
        records: The records, in order.
        status: How the run ended, or "open".
        wiring: The plan.
        recording: How it is recorded.

    Raises:
        DamagedJournal: They cannot be records of this plan.
    """
    replay = Replay()
    for record in records:
        if record.kind == "attempted":
            replay.attempts[record.step] = replay.attempts.get(record.step, 0) + 1
        elif record.kind == "compensated":
            replay.compensated.append(record.step)
            continue
        elif record.kind == "aborted":
            replay.broken_off = BreakOff(record.step, recording.codec.decode_error(record.payload))
            replay.attempts.pop(record.step, None)
            continue
        else:
            _keep(replay, record, wiring, recording)
        replay.broken_off = None
    replay.is_over = status in ("succeeded", "failed") and replay.broken_off is None
    if not replay.is_over:
        _forget_resources(replay)
    return replay


def skip_to_bytes(skipped: Skipped) -> bytes:
    """Return why a step was skipped, as bytes.

    Args:
        skipped: The reason.
    """
    return msgspec.json.encode(_SkipReason(skipped.because, skipped.cause))


def place_of(name: str, wiring: "Wiring") -> tuple[int, int | None]:
    """Return the step of a name, and which item of it is meant, if one is.

    Args:
        name: The name.
        wiring: The plan.

    Raises:
        DamagedJournal: The plan has no such step.
    """
    step = wiring.index.get(name)
    if step is not None:
        return step, None
    fan_out, _, number = name.removesuffix("]").rpartition("[")
    step = wiring.index.get(fan_out)
    if step is None or step not in wiring.fan_outs or not number.isdecimal():
        raise DamagedJournal(f"There is a record of {name!r}, which the plan does not have.", path="")
    return step, int(number)


def _keep(replay: Replay, record: Record, wiring: "Wiring", recording: Recording) -> None:
    step, number = place_of(record.step, wiring)
    replay.attempts.pop(record.step, None)
    replay.order.append(record.step)
    try:
        known = _known(record, step, recording)
    except DamagedJournal as error:
        raise DamagedJournal(f"The record of {record.step!r}: {error}", path="") from error
    if number is None:
        replay.steps[step] = known
    else:
        replay.items.setdefault(step, {})[number] = known


def _known(record: Record, step: int, recording: Recording) -> Known:
    if record.kind == "failed":
        return Known(Status.FAILED, recording.codec.decode_error(record.payload))
    if record.kind == "skipped":
        return Known(Status.SKIPPED, _skip_from_bytes(record.payload))
    coder = recording.artifacts[step]
    artifact = UNRECORDED if coder is None or record.codec == NO_CODEC else coder.decode(record.payload)
    return Known(Status.SUCCEEDED, artifact, record.kind == "recovered")


def _skip_from_bytes(payload: bytes) -> Skipped:
    try:
        reason = msgspec.json.decode(payload, type=_SkipReason)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = "it does not say why the step was skipped."
        raise DamagedJournal(message, path="") from error
    return Skipped(reason.because, reason.cause)


def _forget_resources(replay: Replay) -> None:
    """Have resources set up again: what they yielded did not outlive the process."""
    replay.lost_steps = _taken_out(replay.steps)
    replay.lost_items = {step: _taken_out(items) for step, items in replay.items.items()}


def _taken_out(known: dict[int, Known]) -> dict[int, Known]:
    return {key: known.pop(key) for key in [key for key, one in known.items() if one.value is UNRECORDED]}

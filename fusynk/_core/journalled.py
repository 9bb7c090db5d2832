"""What a journal keeps of a run beside the records of its steps."""

from typing import Literal, TypeAlias

import msgspec

from fusynk._core.envelope import DIGEST, BrokenEnvelope, bytes_to_text, decoded, opened, sealed, text_to_bytes

JournalStatus: TypeAlias = Literal["open", "succeeded", "failed", "cancelled"]
"""How a run ended; one that did not is open, whether or not anybody has it."""


class RunStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a run begins with. It is never changed.

    Attributes:
        fingerprint: What tells its plan from others.
        inputs: Its inputs as bytes.
        plan: What its plan consists of, as bytes, to tell how another one differs.
        created: When it was first opened, in seconds since the epoch, for people.
    """

    fingerprint: str
    inputs: bytes
    plan: bytes = b""
    created: float = 0.0


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as `journal.runs()` tells of it.

    Attributes:
        run_id: Its id.
        fingerprint: What tells its plan from others.
        status: "open", or how it ended.
        epoch: How often somebody took it.
        owner: Who took it last.
        created: When it was first opened, in seconds since the epoch.
        ended: When it ended, or `None`.
    """

    run_id: str
    fingerprint: str
    status: JournalStatus
    epoch: int
    owner: str
    created: float
    ended: float | None = None


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is.

    Attributes:
        epoch: How often somebody took it. Only who took it last may write.
        owner: Who that is.
        status: "open", or how it ended.
        records: How many records it had when this was written; all it has, if it has ended.
        ended: When it ended, or `None`.
    """

    epoch: int
    owner: str
    status: JournalStatus = "open"
    records: int = 0
    ended: float | None = None


class _Start(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    run_id: bytes
    fingerprint: bytes
    inputs: bytes
    plan: bytes
    created: float
    nonce: bytes


class _State(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    run_id: bytes
    epoch: int
    owner: bytes
    status: JournalStatus
    records: int
    ended: float | None


_encode = msgspec.msgpack.Encoder().encode
_decode_start = msgspec.msgpack.Decoder(_Start).decode
_decode_state = msgspec.msgpack.Decoder(_State).decode


def start_to_bytes(run_id: str, start: RunStart, nonce: bytes) -> bytes:
    """Return the start of a run as bytes under a checksum.

    Args:
        run_id: The id of the run.
        start: Its start.
        nonce: Bytes that no other run has, so that `mark_of` tells them apart.
    """
    names = text_to_bytes(run_id), text_to_bytes(start.fingerprint)
    return sealed(_encode(_Start(*names, start.inputs, start.plan, start.created, nonce)), b"")


def start_from_bytes(run_id: str, encoded: object) -> RunStart:
    """Return the start of a run.

    Args:
        run_id: The id of the run whose start it should be.
        encoded: What `start_to_bytes` returned.

    Raises:
        BrokenEnvelope: It is torn or was changed, or belongs to another run.
    """
    kept = decoded(_decode_start, opened(encoded)[0])
    _check_owner(run_id, kept.run_id)
    fingerprint = bytes_to_text(kept.fingerprint)
    return RunStart(fingerprint=fingerprint, inputs=kept.inputs, plan=kept.plan, created=kept.created)


def mark_of(start: bytes) -> bytes:
    """Return what tells a run from others of its id and plan.

    Args:
        start: What `start_to_bytes` returned.
    """
    return start[:DIGEST]


def state_to_bytes(run_id: str, state: RunState) -> bytes:
    """Return the state of a run as bytes under a checksum.

    Args:
        run_id: The id of the run.
        state: Its state.
    """
    names = text_to_bytes(run_id), state.epoch, text_to_bytes(state.owner)
    return sealed(_encode(_State(*names, state.status, state.records, state.ended)), b"")


def state_from_bytes(run_id: str, encoded: object) -> RunState:
    """Return the state of a run.

    Args:
        run_id: The id of the run whose state it should be.
        encoded: What `state_to_bytes` returned.

    Raises:
        BrokenEnvelope: It is torn or was changed, or belongs to another run.
    """
    kept = decoded(_decode_state, opened(encoded)[0])
    _check_owner(run_id, kept.run_id)
    return RunState(
        epoch=kept.epoch, owner=bytes_to_text(kept.owner), status=kept.status, records=kept.records, ended=kept.ended
    )


def summary_of(run_id: str, start: RunStart, state: RunState) -> RunSummary:
    """Return what is told of a run.

    Args:
        run_id: Its id.
        start: Its start.
        state: Its state.
    """
    return RunSummary(
        run_id=run_id,
        fingerprint=start.fingerprint,
        status=state.status,
        epoch=state.epoch,
        owner=state.owner,
        created=start.created,
        ended=state.ended,
    )


def _check_owner(run_id: str, found: bytes) -> None:
    if found != text_to_bytes(run_id):
        raise BrokenEnvelope(f"it belongs to the run {bytes_to_text(found)!r}, not to {run_id!r}")

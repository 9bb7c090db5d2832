"""An envelope gives back the record that was put into it, for its own run, plan and place, or is refused."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk._core.envelope import BrokenEnvelope, LaterEnvelope, Record, RecordKind, Seal, opened, sealed
from fusynk._core.journalled import (
    RunStart,
    RunState,
    start_from_bytes,
    start_to_bytes,
    state_from_bytes,
    state_to_bytes,
)

NAMES = st.text()
RECORDS = st.builds(
    Record,
    step=NAMES,
    attempt=st.integers(0, 10**6),
    kind=st.sampled_from(get_args(RecordKind)),
    payload=st.binary(max_size=200),
    started=st.floats(0, 1e10),
    ended=st.floats(0, 1e10),
    codec=st.sampled_from(["json", "other"]),
)
SEALS = st.builds(Seal, NAMES, NAMES, st.binary(max_size=16))
NUMBERS = st.integers(1, 2**32)


@given(SEALS, NUMBERS, RECORDS)
def test_a_record_comes_back_as_it_was(seal: Seal, number: int, record: Record) -> None:
    assert seal.open(number, seal.close(number, record)) == record


@given(SEALS, NUMBERS, RECORDS, st.data())
def test_an_envelope_with_any_bit_flipped_is_refused(
    seal: Seal, number: int, record: Record, draws: st.DataObject
) -> None:
    envelope = bytearray(seal.close(number, record))
    place = draws.draw(st.integers(0, len(envelope) - 1))
    envelope[place] ^= 1 << draws.draw(st.integers(0, 7))

    with pytest.raises(BrokenEnvelope):
        seal.open(number, bytes(envelope))


def test_every_single_bit_and_every_length_counts() -> None:
    seal, record = Seal("run", "plan"), Record(step="s", attempt=1, kind="succeeded", payload=b"[1,2]")
    envelope = seal.close(1, record)

    for place in range(len(envelope)):
        for bit in range(8):
            changed = bytearray(envelope)
            changed[place] ^= 1 << bit
            with pytest.raises(BrokenEnvelope):
                seal.open(1, bytes(changed))
        with pytest.raises(BrokenEnvelope):
            seal.open(1, envelope[:place])
    with pytest.raises(BrokenEnvelope):
        seal.open(1, envelope + b"\0")


@given(SEALS, SEALS, NUMBERS, NUMBERS, RECORDS)
def test_an_envelope_of_another_run_plan_or_place_is_refused(
    seal: Seal, other: Seal, number: int, another: int, record: Record
) -> None:
    envelope = seal.close(number, record)
    if (seal, number) == (other, another):
        assert other.open(another, envelope) == record
        return
    with pytest.raises(BrokenEnvelope, match=r"belongs to|stands in the place of"):
        other.open(another, envelope)


@given(RECORDS, RECORDS, st.booleans())
def test_parts_of_two_envelopes_make_none(one: Record, other: Record, heads: bool) -> None:
    seal = Seal("run", "plan")
    first, second = seal.close(1, one), seal.close(2, other)
    mixed = first[:16] + second[16:] if heads else first[: len(first) - len(one.payload)] + b"!" + other.payload

    with pytest.raises(BrokenEnvelope):
        seal.open(1, mixed)


@pytest.mark.parametrize("envelope", [None, 3, "text", b"", b"short", bytes(100)])
def test_something_else_is_no_envelope(envelope: object) -> None:
    with pytest.raises(BrokenEnvelope):
        Seal("run", "plan").open(1, envelope)


@pytest.mark.parametrize("header", [b"", b"\x90", b"\xc1", msgspec.msgpack.encode(["run"] * 9)])
def test_a_header_of_something_else_is_refused_though_its_checksum_is_right(header: bytes) -> None:
    with pytest.raises(BrokenEnvelope):
        Seal("run", "plan").open(1, sealed(header, b"payload"))


def test_a_later_format_is_told_apart_from_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusynk._core.envelope.VERSION", 2)
    later = sealed(b"header", b"payload")
    monkeypatch.undo()

    with pytest.raises(LaterEnvelope, match="has format 2, and this fusynk knows formats up to 1"):
        opened(later)


STARTS = st.builds(RunStart, fingerprint=NAMES, inputs=st.binary(), plan=st.binary(), created=st.floats(0, 1e10))
STATES = st.builds(
    RunState,
    epoch=st.integers(0, 2**40),
    owner=NAMES,
    status=st.sampled_from(["open", "succeeded", "failed", "cancelled"]),
    records=st.integers(0, 2**32),
    ended=st.none() | st.floats(0, 1e10),
)


@given(NAMES, STARTS, STATES, st.data())
def test_the_start_and_the_state_of_a_run_come_back_or_are_refused(
    run_id: str, start: RunStart, state: RunState, draws: st.DataObject
) -> None:
    parts: list[tuple[Any, Any, Any]] = [
        (start, start_to_bytes(run_id, start, draws.draw(st.binary())), start_from_bytes),
        (state, state_to_bytes(run_id, state), state_from_bytes),
    ]
    for value, encoded, decode in parts:
        assert decode(run_id, encoded) == value
        with pytest.raises(BrokenEnvelope, match="belongs to the run"):
            decode(f"{run_id}!", encoded)
        changed = bytearray(encoded)
        changed[draws.draw(st.integers(0, len(changed) - 1))] ^= 1 << draws.draw(st.integers(0, 7))
        with pytest.raises(BrokenEnvelope):
            decode(run_id, bytes(changed))

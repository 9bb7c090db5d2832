"""The envelope of a record: what a step came to, bound to its run and plan, under a checksum."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Literal, TypeAlias, TypeVar, get_args

import msgspec

VERSION: Final = 1
DIGEST: Final = 16
"""The size of a checksum."""
_HEAD: Final = DIGEST + 5  # the version, the digest and the length of the header

RecordKind: TypeAlias = Literal["succeeded", "failed", "skipped", "recovered", "attempted"]
"""What a record says: the outcome of a step, or of an attempt after which another one follows."""
FINAL: Final = frozenset(get_args(RecordKind)) - {"attempted"}


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one step or item came to, or one attempt of it.

    Attributes:
        step: Its name; an item of a fan-out is `name[i]`.
        attempt: Which attempt it was, from 1; 0 for a step that was skipped.
        kind: What became of it.
        payload: The artifact or the error as bytes, or more about why it was skipped.
        started: When it began, in seconds since the epoch, for people; nothing is decided by it.
        ended: When it ended, likewise.
        codec: The name of what made the payload.
    """

    step: str
    attempt: int
    kind: RecordKind
    payload: bytes
    started: float = 0.0
    ended: float = 0.0
    codec: str = "json"


class BrokenEnvelope(Exception):
    """An envelope is torn or was changed, or belongs elsewhere. What it says is the rest of a sentence."""


class LaterEnvelope(BrokenEnvelope):
    """An envelope was written by a later version."""


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    run_id: bytes
    fingerprint: bytes
    mark: bytes
    number: int
    step: bytes
    attempt: int
    kind: RecordKind
    started: float
    ended: float
    codec: str


_encode_header: Final = msgspec.msgpack.Encoder().encode
_decode_header: Final = msgspec.msgpack.Decoder(_Header).decode


@dataclass(frozen=True, slots=True)
class Seal:
    """Puts the records of one run of one plan into envelopes, and takes them out again.

    >>> seal = Seal("order-42", "9f3c")
    >>> letter = seal.close(1, Record(step="pay", attempt=1, kind="succeeded", payload=b"3"))
    >>> seal.open(1, letter).payload
    b'3'
    >>> Seal("order-43", "9f3c").open(1, letter)
    Traceback (most recent call last):
        ...
    fusynk._core.envelope.BrokenEnvelope: it belongs to the run 'order-42', not to 'order-43'

    Attributes:
        run_id: The id of the run.
        fingerprint: What tells its plan from others.
        mark: What tells the run from others of its id and plan, in another file or in an older copy.
    """

    run_id: str
    fingerprint: str
    mark: bytes = b""
    _names: tuple[bytes, bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = text_to_bytes(self.run_id), text_to_bytes(self.fingerprint), self.mark
        object.__setattr__(self, "_names", names)

    def close(self, number: int, record: Record) -> bytes:
        """Return the envelope of a record.

        Args:
            number: Which record of the run it is, from 1.
            record: The record.
        """
        header = _encode_header(
            _Header(
                *self._names,
                number,
                text_to_bytes(record.step),
                record.attempt,
                record.kind,
                record.started,
                record.ended,
                record.codec,
            )
        )
        return sealed(header, record.payload)

    def open(self, number: int, envelope: object) -> Record:
        """Return the record in an envelope.

        Args:
            number: Which record of the run it should be.
            envelope: What `close` returned.

        Raises:
            BrokenEnvelope: It is torn or was changed, or belongs to another run, plan or place.
            LaterEnvelope: It was written by a later version.
        """
        encoded, payload = opened(envelope)
        header = decoded(_decode_header, encoded)
        if header.run_id != self._names[0]:
            raise BrokenEnvelope(f"it belongs to the run {bytes_to_text(header.run_id)!r}, not to {self.run_id!r}")
        if header.fingerprint != self._names[1]:
            raise BrokenEnvelope("it belongs to another plan")
        if header.mark != self.mark:
            raise BrokenEnvelope(f"it belongs to another run of the id {self.run_id!r}")
        if header.number != number:
            raise BrokenEnvelope(f"it is number {header.number} of its run, and stands in the place of number {number}")
        return Record(
            step=bytes_to_text(header.step),
            attempt=header.attempt,
            kind=header.kind,
            payload=payload,
            started=header.started,
            ended=header.ended,
            codec=header.codec,
        )


def sealed(header: bytes, payload: bytes) -> bytes:
    """Return two parts in one under a checksum of both.

    Args:
        header: The one.
        payload: The other.
    """
    rest = b"".join((VERSION.to_bytes(1, "big"), len(header).to_bytes(4, "big"), header, payload))
    return blake2b(rest, digest_size=DIGEST).digest() + rest


def opened(envelope: object) -> tuple[bytes, bytes]:
    """Return the parts that were sealed.

    Args:
        envelope: What `sealed` returned.

    Raises:
        BrokenEnvelope: It is torn or was changed.
        LaterEnvelope: It was written by a later version.
    """
    if not isinstance(envelope, bytes) or len(envelope) < _HEAD:
        raise BrokenEnvelope("it is no envelope")
    rest = envelope[DIGEST:]
    if blake2b(rest, digest_size=DIGEST).digest() != envelope[:DIGEST]:
        raise BrokenEnvelope("its checksum is wrong")
    if rest[0] != VERSION:
        raise LaterEnvelope(f"it has format {rest[0]}, and this fusynk knows formats up to {VERSION}")
    end = 5 + int.from_bytes(rest[1:5], "big")
    return rest[5:end], rest[end:]


H = TypeVar("H")


def decoded(decode: Callable[[bytes], H], header: bytes) -> H:
    """Return what a header says.

    Args:
        decode: The decoder of its type.
        header: The header.

    Raises:
        BrokenEnvelope: It says nothing of that type.
    """
    try:
        return decode(header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenEnvelope("it holds something else") from error


def text_to_bytes(text: str) -> bytes:
    """Return a text as bytes; half surrogate pairs are allowed in names, and no other form keeps them.

    Args:
        text: The text.
    """
    return text.encode("utf-8", "surrogatepass")


def bytes_to_text(encoded: bytes) -> str:
    """Return the text of bytes.

    Args:
        encoded: What `text_to_bytes` returned.
    """
    return encoded.decode("utf-8", "surrogatepass")

"""Artifacts and errors as bytes and back: JSON by msgspec, read into the types that are annotated. Never pickle."""

import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from fusynk._core.custom_types import custom_types_in
from fusynk._core.numbers import is_positive_count
from fusynk._core.printable import cut
from fusynk._core.sameness import Comparer, comparer_of, difference
from fusynk.errors import DamagedJournal, InvalidOption, StoredError, Unstorable, shown

CODEC: Final = "json"
"""The name of this codec in envelopes."""
MOST: Final = 1 << 20
WARN_ABOVE: Final = 1 << 18

ADVICE: Final = "give the journal a Conversion: codec=Codec([Conversion(...)])"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large an artifact may be as bytes.

    Attributes:
        most: A larger one is not stored.
        warn_above: Above that, somebody should be told.
    """

    most: int = MOST
    warn_above: int = WARN_ABOVE

    def __post_init__(self) -> None:
        """Refuse what is no number of bytes."""
        for name, value in (("most", self.most), ("warn_above", self.warn_above)):
            if not is_positive_count(value):
                message = f"Sizes({name}={shown(value)}): {name} must be a whole number of bytes, from 1 up."
                raise InvalidOption(message)

    def is_large(self, payload: bytes) -> bool:
        """Tell whether somebody should be told.

        Args:
            payload: The artifact as bytes.
        """
        return len(payload) > self.warn_above


@dataclass(frozen=True, slots=True)
class Conversion(Generic[T]):
    """How to store a type that the codec does not know: as a value that it knows.

    Subclasses of the type are not covered. Two values are taken for the same if what stands for them is.

    Attributes:
        kind: The type.
        encode: Returns what stands for a value: plain JSON types, and whatever else the codec knows.
        decode: Returns the value, from plain JSON types.
    """

    kind: type[T]
    encode: Callable[[T], object]
    decode: Callable[[Any], T]


class Codec:
    """Codes the artifacts of a plan's steps. What it accepts comes back equal and of the same types.

    >>> codec = Codec([Conversion(complex, lambda z: [z.real, z.imag], lambda parts: complex(*parts))])
    >>> artifact = codec.of(dict[int, complex])
    >>> artifact.decode(artifact.encode({3: 1j}, step="spin"))
    {3: 1j}
    """

    def __init__(self, conversions: Iterable[Conversion[Any]] = (), *, sizes: Sizes = Sizes()) -> None:
        """Make one.

        Args:
            conversions: How to store types that msgspec does not know.
            sizes: How large artifacts may be.

        Raises:
            InvalidOption: Something else is given.
        """
        conversions = _checked(conversions, sizes)
        self.sizes = sizes
        known = {one.kind: one for one in conversions}
        self.encoders: Mapping[type, Callable[[object], object]] = {kind: one.encode for kind, one in known.items()}
        self._decoders = {kind: one.decode for kind, one in known.items()}
        self._encoder = msgspec.json.Encoder(enc_hook=self._to_known)
        self._sorting_encoder = msgspec.json.Encoder(enc_hook=self._to_known, order="sorted")

    def of(self, annotation: object = Any) -> "ArtifactCodec":
        """Return what codes artifacts of one annotated type.

        Args:
            annotation: The type, with names resolved; `Any` if none is given, for plain JSON types.

        Raises:
            Unstorable: Values of that type cannot be told apart when they are read.
        """
        wanted = Any if annotation is object else annotation
        try:
            decoder = msgspec.json.Decoder(cast("Any", wanted), dec_hook=self._from_known)
        except Exception as error:  # annotations are the user's, and so is what their classes do when asked
            name = _name_of(annotation)
            message = (
                f"An artifact annotated as {name} cannot be read back from a journal: {cut(str(error))}. "
                "Annotate what can be told apart, such as one dataclass or msgspec structs with tags."
            )
            raise Unstorable(message, step="", type_name=name) from error
        self._check_known(wanted)
        are_same = comparer_of(None if annotation in list(self.encoders) else annotation)
        return ArtifactCodec(self._encoder.encode, decoder.decode, are_same, self.encoders, self.sizes.most)

    def _check_known(self, annotation: object) -> None:
        """Refuse a type that holds what nothing here can code, before any artifact of it is made."""
        unknown = next((kind for kind in custom_types_in(annotation) if kind not in self._decoders), None)
        if unknown is not None:
            name = _name_of(unknown)
            message = (
                f"An artifact annotated as {_name_of(annotation)} cannot be kept in a journal: the codec does not know "
                f"{name}. Return a dataclass, an attrs class or a msgspec struct, or give a Conversion({name}, ...)."
            )
            raise Unstorable(message, step="", type_name=name)

    def in_fixed_order(self, values: AbstractSet[object]) -> list[object]:
        """Return the values of a set in an order that is the same in every process.

        Args:
            values: The set.

        Raises:
            Unstorable: One of them cannot be stored.
        """
        try:
            return sorted(values, key=self._sorting_encoder.encode)
        except Exception as error:  # the classes are the user's
            message = f"The values of a set have no order that another process would know: {_reason(error)}."
            raise Unstorable(message, step="", type_name=_name_of(type(values))) from error

    def encode_error(self, error: BaseException) -> bytes:
        """Return an error as bytes. It never raises.

        Args:
            error: The error.
        """
        return _ENCODER.encode(_kept(error, self.encoders))

    def decode_error(self, payload: bytes) -> BaseException:
        """Return an error that was stored.

        Nothing is imported, and no constructor of anybody but Python is called: where the class is loaded, is made by
        Python's own constructor and the arguments are plain, the error is made anew; else a `StoredError` stands for
        it.

        Args:
            payload: What `encode_error` returned.

        Raises:
            DamagedJournal: It is something else.
        """
        try:
            kept = msgspec.json.decode(payload, type=_Kept)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(error) from error
        return _rebuilt(kept) or _stand_in(kept)

    def _to_known(self, value: object) -> object:
        encode = self.encoders.get(type(value))
        if encode is None:
            raise NotImplementedError
        return encode(value)

    def _from_known(self, kind: type, value: object) -> object:
        if kind is object:  # inside of another type; alone it is `Any`
            return value
        decode = self._decoders.get(kind)
        if decode is None:
            raise NotImplementedError
        return decode(value)


class ArtifactCodec:
    """Codes artifacts of one type. It may be used by several threads at once."""

    __slots__ = ("_are_same", "_conversions", "_decode", "_encode", "_most")

    def __init__(
        self,
        encode: Callable[[object], bytes],
        decode: Callable[[bytes], object],
        are_same: Comparer,
        conversions: Mapping[type, Callable[[object], object]],
        most: int,
    ) -> None:
        self._encode = encode
        self._decode = decode
        self._are_same = are_same
        self._conversions = conversions
        self._most = most

    def encode(self, artifact: object, *, step: str) -> bytes:
        """Return an artifact as bytes. See `keep`.

        Args:
            artifact: The artifact.
            step: The name of the step that returned it, for errors.

        Raises:
            Unstorable: It cannot be kept.
        """
        return self.keep(artifact, step=step)[0]

    def keep(self, artifact: object, *, step: str) -> tuple[bytes, object]:
        """Return an artifact as bytes, and what is read from them: the same, but an int may have become a float.

        Whoever goes on with what was read does so as anybody would later on.

        Args:
            artifact: The artifact.
            step: The name of the step that returned it, for errors.

        Raises:
            Unstorable: It cannot be stored, would come back as something else, or is too large.
        """
        try:
            payload = self._encode(artifact)
        except Exception as error:  # the artifact's class and the conversions are the user's
            raise _unstorable(step, artifact, f": {_reason(error)}") from error
        if len(payload) > self._most:
            raise _too_large(step, artifact, len(payload), self._most)
        try:
            read = self._decode(payload)
            found = "" if self._are_same(artifact, read) else difference(artifact, read, self._conversions)
        except Exception as error:  # as above
            raise _unstorable(step, artifact, f": {_reason(error)}", len(payload)) from error
        if found:
            raise _unstorable(step, artifact, found, len(payload))
        return payload, read

    def decode(self, payload: bytes) -> object:
        """Return the artifact that was encoded.

        Args:
            payload: What `encode` returned.

        Raises:
            DamagedJournal: It is something else, or of another type than is annotated now.
        """
        try:
            return self._decode(payload)
        except Exception as error:  # the classes are the user's
            raise _unreadable(error) from error


def _checked(conversions: Iterable[object], sizes: object) -> "list[Conversion[Any]]":
    """Return the conversions as they were given, if they are what they must be."""
    if not isinstance(sizes, Sizes):
        message = f"Codec(sizes={shown(sizes)}): sizes must be Sizes(most=..., warn_above=...), in bytes."
        raise InvalidOption(message)
    given = list(conversions)
    for one in given:
        if not isinstance(one, Conversion):
            message = f"Codec([{shown(one)}]): each must be a conversion, as Conversion(Kind, encode, decode)."
            raise InvalidOption(message)
    return cast("list[Conversion[Any]]", given)


def _unstorable(step: str, artifact: object, found: str, size: int | None = None) -> Unstorable:
    kind = _name_of(type(artifact))
    message = (
        f"{step!r} returned {with_article(kind)} that cannot be kept in the journal: its value{cut(found)}. "
        f"Annotate the return type, and return what JSON and that type can hold, or {ADVICE}."
    )
    return Unstorable(message, step=step, type_name=kind, size=size, found=cut(found))


def _too_large(step: str, artifact: object, size: int, most: int) -> Unstorable:
    kind = _name_of(type(artifact))
    message = (
        f"{step!r} returned {with_article(kind)} of {size:,} bytes, and the journal keeps at most {most:,}. "
        "Store it elsewhere and return where it is, or raise the journal's limit: codec=Codec(sizes=Sizes(most=...))."
    )
    return Unstorable(message, step=step, type_name=kind, size=size, found=f" takes {size:,} bytes")


def with_article(kind: str) -> str:
    """Return the name of a type as a sentence has it.

    Args:
        kind: The name.
    """
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def _unreadable(error: Exception) -> DamagedJournal:
    message = f"What the journal holds cannot be read as what is annotated: {cut(str(error))}; restore the annotation."
    return DamagedJournal(message, path="")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or holds itself"
    if isinstance(error, NotImplementedError):
        return "it holds an object of a type that the codec does not know"
    return str(error) or type(error).__name__


def _name_of(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) else cut(str(kind))


# Errors


class _Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is kept of an error: its class, what it says, and its arguments if it can be made anew from them."""

    module: str
    name: str
    text: str
    notes: list[str]
    arguments: list[str | int | float | bool | None] | None


_ENCODER: Final = msgspec.json.Encoder()


def _kept(error: BaseException, conversions: Mapping[type, Callable[[object], object]]) -> _Kept:
    kind = type(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the class is the user's
        text = "<it cannot be printed>"
    notes = [_clean(note) for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    kept = _Kept(_clean(kind.__module__), _clean(kind.__qualname__), _clean(text), notes, None)
    anew = msgspec.structs.replace(kept, arguments=list(error.args))
    try:
        rebuilt = _rebuilt(msgspec.json.decode(_ENCODER.encode(anew), type=_Kept))
        is_same = rebuilt is not None and str(rebuilt) == text and not difference(error.args, rebuilt.args, conversions)
        return anew if is_same and not [name for name in vars(error) if not _is_ours(name)] else kept
    except Exception:  # noqa: BLE001 - its arguments are anything
        return kept


def _is_ours(attribute: str) -> bool:
    """Tell whether an attribute of an error is there of itself: its notes, and the link to its run."""
    return attribute.startswith(("__", "_fusynk"))


def _rebuilt(kept: _Kept) -> BaseException | None:
    """Return the error anew, if Python's own constructor makes it, of a class that is loaded."""
    found: object = sys.modules.get(kept.module)
    for name in kept.name.split("."):
        found = cast("object", vars(found).get(name)) if hasattr(found, "__dict__") else None
    if kept.arguments is None or not isinstance(found, type) or not issubclass(found, Exception):
        return None
    makers = [vars(base) for base in found.__mro__ if base.__module__ != "builtins"]
    if type(found) is not type or any("__new__" in names or "__init__" in names for names in makers):
        return None
    try:
        error = found(*kept.arguments)
    except Exception:  # noqa: BLE001 - whatever it is, a StoredError will do
        return None
    for note in kept.notes:
        error.add_note(note)
    return error


def _stand_in(kept: _Kept) -> StoredError:
    name = f"{kept.module}.{kept.name}"
    error = StoredError(f"{name}: {kept.text}", type_name=name, text=kept.text)
    for note in kept.notes:
        error.add_note(note)
    return error


def _clean(text: str) -> str:
    """Return a text without half surrogate pairs, which no JSON holds."""
    return text.encode("utf-8", "backslashreplace").decode()

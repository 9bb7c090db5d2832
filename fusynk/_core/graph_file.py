"""The file of a graph, read as if a stranger had written it: its shape, its bounds, and what is no such file."""

import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Annotated, Literal, NoReturn, TypeVar, cast

from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder

from fusynk._core.references import cut
from fusynk._core.saved_options import Saved
from fusynk._core.saving import FORMAT, LARGEST_FILE, LONGEST_TEXT, VERSION
from fusynk.errors import GraphFileError, did_you_mean

T = TypeVar("T")

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Scalar = bool | int | float | Text | None
_Option = _Scalar | list[Text] | dict[Text, _Scalar]


class _Header(Struct):
    """What is asked first; a newer version may have other keys."""

    format: Text
    version: int


class EdgeEntry(Struct, forbid_unknown_fields=True, frozen=True):
    """An order edge with a condition.

    Attributes:
        unit: The unit's name, or its import path.
        when: The import path of the condition.
    """

    unit: Text
    when: Text


class UnitEntry(Struct, forbid_unknown_fields=True, frozen=True):
    """A unit. See `Unit` for what its attributes are; what is left out is as if left out at the decorator."""

    name: Text
    kind: Literal["layer", "worker", "process"]
    each: bool = False
    function: Text | None = None
    options: dict[Text, Raw] = {}
    depends_on: list[Text | EdgeEntry] = []
    bind: dict[Text, Text] = {}
    members: list[Text] = []
    mode: _Scalar | UnsetType = UNSET
    size: _Scalar | UnsetType = UNSET
    delay: _Scalar | UnsetType = UNSET


class GraphEntry(Struct, forbid_unknown_fields=True, frozen=True):
    """A whole file."""

    format: Text
    version: int
    name: Text
    units: list[UnitEntry]


_ENTRIES: Mapping[str, type[Struct]] = MappingProxyType({"$.units[]": UnitEntry, "$.units[].depends_on[]": EdgeEntry})
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "array": "a list",
        "bool": "true or false",
        "float": "a number",
        "int": "a whole number",
        "null": "null",
        "object": "an object",
        "str": "a text",
    }
)
_header, _graph, _option = Decoder(_Header), Decoder(GraphEntry), Decoder(_Option)


def refusal(path: str, where: str, problem: str) -> GraphFileError:
    """Return the error that refuses a file.

    Args:
        path: The file.
        where: The place in it, as in "$.units[3].options.retries", or an empty text.
        problem: What is wrong, and what to write instead; goes on after the place.
    """
    end = "" if problem.endswith(("?", "...")) else "."
    message = f"{path!r}, {where}: {problem}{end}" if where else f"{path!r} {problem}{end}"
    return GraphFileError(message, path=path, where=where)


def read_graph_file(path: str) -> GraphEntry:
    """Return what a file says, its shape checked.

    Args:
        path: The file.

    Raises:
        GraphFileError: It is no graph file, or one of a newer version.
        OSError: It cannot be opened or read.
    """
    content = _content(path)
    if content.startswith(b"\xef\xbb\xbf"):
        raise refusal(path, "line 1", "begins with a byte order mark; save it as UTF-8 without one")
    header = _decoded(_header, content, path)
    if header.format != FORMAT:
        problem = f'is {cut(header.format)}; a graph file says "{FORMAT}"'
        raise refusal(path, "$.format", problem)
    if header.version > VERSION:
        problem = f"{cut(header.version)} is newer than what this fusynk reads, {VERSION}; upgrade fusynk"
        raise refusal(path, "$.version", problem)
    if header.version < VERSION:
        raise refusal(path, "$.version", f"{cut(header.version)} is no version; this fusynk reads {VERSION}")
    graph = _decoded(_graph, content, path)
    _refuse_repeated_keys(content, path)
    return graph


def read_option(raw: Raw, path: str, where: str) -> Saved:
    """Return the value that a file gives for an option.

    Raises:
        GraphFileError: No option has a value of that form.
    """
    return cast("Saved", _decoded(_option, bytes(raw), path, where))


def _content(path: str) -> bytes:
    """Read a regular file, and not more than a graph file may hold."""
    # Without O_NONBLOCK, opening a named pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refusal(path, "", "is a symbolic link; give the path of the file itself") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refusal(path, "", "is no regular file; give the path of a file that Graph.save wrote")
        size, content = status.st_size, b""
        if size <= LARGEST_FILE:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(LARGEST_FILE + 1)
            size = len(content)
    finally:
        os.close(descriptor)
    if size > LARGEST_FILE:
        raise refusal(path, "", f"has {size} bytes, which is more than the {LARGEST_FILE} that a graph file may have")
    return content


def _decoded(decoder: Decoder[T], content: bytes, path: str, where: str = "") -> T:
    try:
        return decoder.decode(content)
    except ValidationError as error:
        _refuse_shape(str(error), content, path, where)
    except DecodeError as error:
        problem = str(error).removeprefix("JSON is malformed: ")
        raise refusal(path, where or _line_of(problem, content), f"is no JSON: {_told(problem, content)}") from None
    except UnicodeDecodeError:
        raise refusal(path, where, "is not UTF-8; save it as that") from None
    except RecursionError:
        raise refusal(path, where, "is nested too deeply for a graph file") from None


def _refuse_shape(told: str, content: bytes, path: str, where: str) -> NoReturn:
    """Refuse a file for what the decoder said, with the value that it stumbled on."""
    problem, at, place = told.rpartition(" - at `")
    problem, place = (problem, place.removesuffix("`").removeprefix("key` in `")) if at else (told, "")
    found = ""
    with suppress(LookupError, TypeError, ValueError, RecursionError):
        found = f", not {cut(_value_at(content, place))}"
    problem = _in_words(problem, found, place)
    raise refusal(path, f"{where}{place.removeprefix('$')}" if where else place or "$", problem)


def _in_words(problem: str, found: str, place: str) -> str:
    """Say in the words of this library what the decoder said; nothing of the file goes through unescaped."""
    told, _, name = problem.partition(" field `")
    if told == "Object contains unknown":
        name = name.removesuffix("`")
        entry = _ENTRIES.get(re.sub(r"\[\d+\]", "[]", place), GraphEntry)
        hint = did_you_mean(name[:100], entry.__struct_fields__)
        return f"has an unknown key {cut(name)}; remove it.{hint}".removesuffix(".")
    if told == "Object missing required":
        return f"has no {cut(name.removesuffix('`'))}; add it"
    if problem.startswith("Invalid enum value"):
        return f'must be "layer", "worker" or "process"{found}'
    bound = re.fullmatch(r"Expected `str` of length <= (\d+)", problem)
    if bound is not None:
        return f"must be a text of at most {bound[1]} characters"
    wanted = re.match(r"Expected `([a-z |]+)`", problem)
    if wanted is not None:
        kinds = [_KINDS[kind] for kind in wanted[1].split(" | ")]
        return f"must be {' or '.join(dict.fromkeys(kinds))}{found}"
    return f"has a number that is too large{found}" if "out of range" in problem else f"is refused{found}"


def _value_at(content: bytes, place: str) -> object:
    """Return the value at a place such as `$.units[3].name`."""
    found: object = json.loads(content)
    for name, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place):
        key: object = name or int(index)
        found = cast("dict[object, object]", found)[key]
    return found


def _line_of(problem: str, content: bytes) -> str:
    found = re.search(r"\(byte (\d+)\)", problem)
    before = content[: int(found[1])] if found is not None else content
    lines = before.count(b"\n") + 1
    return f"line {lines}"


def _told(problem: str, content: bytes) -> str:
    if problem != "Input data was truncated":
        return problem
    if re.search(rb"\\u[dD][89a-fA-F]", content):
        return "it ends in the middle, or a text holds half of a surrogate pair"
    return "it ends in the middle" if content else "it is empty"


class _RepeatedKeyError(ValueError):
    """An object has one key twice."""


def _refuse_repeated_keys(content: bytes, path: str) -> None:
    """Refuse objects with one key twice, of which one reader would see the first and another the last."""
    try:
        # Numbers are not read here, so that a long one costs nothing.
        json.loads(content, object_pairs_hook=_check_keys, parse_int=len, parse_float=len)
    except _RepeatedKeyError:
        raise refusal(path, _place_of_repeated_key(content), "is there twice; remove one of them") from None
    except (ValueError, RecursionError):
        raise refusal(path, "", "holds something that is no JSON") from None


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatedKeyError


class _Pairs(list[tuple[str, object]]):
    """An object of JSON with every key it has."""


def _place_of_repeated_key(content: bytes) -> str:
    waiting: list[tuple[str, object]] = [("$", json.loads(content, object_pairs_hook=_Pairs, parse_int=len))]
    while waiting:
        place, value = waiting.pop()
        inner: list[tuple[str, object]] = []
        if isinstance(value, _Pairs):
            inner = [(place + step(key), part) for key, part in value]
        elif isinstance(value, list):
            inner = [(f"{place}[{index}]", part) for index, part in enumerate(cast("list[object]", value))]
        seen: set[str] = set()
        for name, _ in inner:
            if name in seen:
                return name
            seen.add(name)
        waiting.extend(inner)
    return ""


def step(key: str) -> str:
    """Return how a place names a key."""
    return f".{key}" if key.isidentifier() and key.isascii() else f"[{cut(key)}]"

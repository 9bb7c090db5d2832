"""`Graph.save`: the names and options of a graph as a file of JSON, replaced at once or not at all."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, cast

from fusynk._core.faults import where
from fusynk._core.markers import When
from fusynk._core.nodes import normalise
from fusynk._core.references import UnknownReference, cut, function_reference, parts_of, unit_function_reference
from fusynk._core.references import unit_reference as reference_to_unit
from fusynk._core.registry import AnyLayer, Namespace
from fusynk._core.saved_options import Saved, UnsavableOption, written_options
from fusynk._core.unit import Members, Unit
from fusynk.errors import UnsavableGraph

FORMAT = "fusynk graph"
VERSION = 1
LARGEST_FILE = 16 * 2**20
LONGEST_TEXT = 10_000
MOST_UNITS = 1_000_000
MOST_EDGES = 10_000_000
_LONGEST_LINE = 90

Entry: TypeAlias = dict[str, object]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
# What a terminal would obey or a reader could not see; JSON itself escapes the rest.
_UNSEEN = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def save_graph(graph: Namespace, path: str) -> None:
    """Write a graph to a file.

    Args:
        graph: The graph.
        path: The file; what is there is replaced.

    Raises:
        UnsavableGraph: The graph holds what a file cannot name; nothing is written.
        OSError: The file cannot be written; the former one is as it was.
    """
    write_atomically(path, graph_text(graph).encode())


def graph_text(graph: Namespace) -> str:
    """Return what the file of a graph holds. The same graph gives the same text.

    Raises:
        UnsavableGraph: The graph holds what a file cannot name.
    """
    writer = _Writer(graph)
    entries = [writer.unit_entry(layer) for layer in sorted(graph, key=lambda layer: layer.unit.sequence)]
    name = writer.text("the graph's name", graph.name)
    if writer.problems:
        raise _unsavable(graph, "it holds what no file can name", writer.problems)
    text = _laid_out(name, entries)
    sizes = ((len(entries), MOST_UNITS, "units"), (writer.edges, MOST_EDGES, "edges"))
    too_many = [f"it has {count} {what}, and a file may have {most}" for count, most, what in sizes if count > most]
    if len(text) > LARGEST_FILE or len(text.encode()) > LARGEST_FILE:
        too_many.append(f"it would have {len(text.encode())} bytes, and a file may have {LARGEST_FILE}")
    if too_many:
        raise _unsavable(graph, "it is too large; save it in parts", too_many)
    return text


def _unsavable(graph: Namespace, problem: str, problems: list[str]) -> UnsavableGraph:
    lines = "\n".join(f"  {one}." for one in problems)
    return UnsavableGraph(
        f"Graph {graph.name!r} cannot be saved, because {problem}:\n{lines}", problems=tuple(problems)
    )


def _laid_out(name: str, entries: list[Entry]) -> str:
    """Return JSON with a line for each thing that is said of a unit."""
    units = ",\n".join("    {\n" + ",\n".join(_lines(entry)) + "\n    }" for entry in entries)
    listed = f"[\n{units}\n  ]" if entries else "[]"
    text = (
        f'{{\n  "format": {_encode(FORMAT)},\n  "version": {VERSION},\n  "name": {_encode(name)},\n'
        f'  "units": {listed}\n}}\n'
    )
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _lines(entry: Entry) -> Iterator[str]:
    for key, value in entry.items():
        text = _encode(value)
        fits = len(key) + len(text) <= _LONGEST_LINE
        if not fits and isinstance(value, dict):
            parts = [f"{_encode(name)}: {_encode(part)}" for name, part in cast("Entry", value).items()]
            text = _broken("{", parts, "}")
        elif not fits and isinstance(value, list):
            text = _broken("[", [_encode(part) for part in cast("list[object]", value)], "]")
        yield f"      {_encode(key)}: {text}"


def _broken(opening: str, parts: list[str], closing: str) -> str:
    lines = ",\n".join(f"        {part}" for part in parts)
    return f"{opening}\n{lines}\n      {closing}"


class _Writer:
    """Turns units into what a file says of them, and notes what no file can say.

    Args:
        graph: The graph that is saved.
    """

    def __init__(self, graph: Namespace) -> None:
        self._graph = graph
        self.problems: list[str] = []
        self.edges = 0

    def unit_entry(self, layer: AnyLayer) -> Entry:
        """Return what the file says of a unit."""
        unit = layer.unit
        entry: Entry = {"name": self.text(f"{where(unit)}: its name", unit.name), "kind": unit.kind}
        if unit.each:
            entry["each"] = True
        if layer.home is not None and not issubclass(type(layer.__wrapped__), staticmethod):
            message = f"is a method of {layer.home.__name__!r}, and no file can say of which object; write a function"
            self._note(unit, "its function", message)
        elif unit.function is not None:
            entry["function"] = self._referred(unit, "its function", unit_function_reference, unit.function)
        options = {name: self._option(unit, name, value) for name, value in written_options(unit.options)}
        parts: Entry = {
            "options": options,
            "depends_on": [self._dependency(unit, one) for one in unit.depends_on],
            "bind": {
                self.text(f"{where(unit)}: in bind", parameter): self._edge(unit, "in bind", source)
                for parameter, source in unit.bind.items()
            },
        }
        return entry | {name: part for name, part in parts.items() if part} | self._members(unit, unit.members)

    def _members(self, unit: Unit, members: Members | None) -> Entry:
        if members is None:
            return {}
        entry: Entry = {"members": [self._edge(unit, "among its members", member) for member in members.units]}
        said = {"mode": (members.mode, "parallel"), "size": (members.size, 2), "delay": (members.delay, 0.1)}
        return entry | {name: value for name, (value, default) in said.items() if value != default}

    def _option(self, unit: Unit, name: str, value: Saved | UnsavableOption) -> Saved:
        if isinstance(value, UnsavableOption):
            self._note(unit, f"its {name}", str(value))
            return None
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        for text in [*texts, *value.values()] if isinstance(value, dict) else texts:
            if isinstance(text, str):
                self.text(f"{where(unit)}: its {name}", text)
        return value

    def _dependency(self, unit: Unit, written: object) -> object:
        if not isinstance(written, When):
            return self._edge(unit, "in depends_on", written)
        condition = self._referred(unit, "a condition in depends_on", function_reference, written.predicate)
        return {"unit": self._edge(unit, "in depends_on", written.source), "when": condition}

    def _edge(self, unit: Unit, place: str, source: object) -> str:
        """Return the name of a unit of this graph, or the import path of another one."""
        self.edges += 1
        if isinstance(source, str):
            # A unit that was declared elsewhere and added here looks its names up where it was declared.
            elsewhere = unit.namespace.find(source, unit.scope) if unit.namespace is not self._graph else None
            if elsewhere is None:
                return self._said_name(unit, place, source)
            source = elsewhere
        layer, instance = normalise(source) or (None, None)
        if layer is None or instance is not None:
            self._note(unit, place, f"it has {cut(source)}, which is bound to an object; no file can say to which")
            return ""
        if self._graph.find(layer.unit.name) is layer:
            return layer.unit.name
        reference = self._referred(unit, f"{place} it has", reference_to_unit, layer)
        if self._graph.find(reference) is not None:
            self._note(unit, place, f"it has {reference!r} of another graph, which is also a name in this one")
        return reference

    def _said_name(self, unit: Unit, place: str, name: str) -> str:
        if ":" in name and self._graph.find(name) is None:
            try:
                parts_of(name)
            except UnknownReference as error:
                self._note(unit, place, f"it {error}")
        return self.text(f"{where(unit)}: {place}", name)

    def _referred(self, unit: Unit, what: str, reference: "Callable[..., str]", value: object) -> str:
        try:
            return self.text(f"{where(unit)}: {what}", reference(value))
        except UnknownReference as error:
            self._note(unit, what, str(error))
            return ""

    def text(self, what: str, value: object) -> str:
        """Return a text; note one that a file cannot hold, or that reading would refuse."""
        if not isinstance(value, str):
            self.problems.append(f"{what} is no text but {type(value).__name__}")
            return ""
        if len(value) > LONGEST_TEXT:
            self.problems.append(f"{what} has {len(value)} characters, and a text in a file may have {LONGEST_TEXT}")
        elif not _is_encodable(value):
            self.problems.append(f"{what} is {cut(value)}, which holds half of a surrogate pair")
        return value

    def _note(self, unit: Unit, what: str, problem: str) -> None:
        self.problems.append(f"{where(unit)}: {what} {problem}")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_atomically(path: str, content: bytes) -> None:
    """Replace a file at once: whenever the program ends, the former or the new one is there, whole.

    Args:
        path: The file. A symbolic link is replaced, not followed.
        content: What it will hold; only its owner may read it.

    Raises:
        OSError: It cannot be written; the former file is as it was.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        descriptor, draft = tempfile.mkstemp(prefix=".fusynk-", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(draft).unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        # It is the caller's file that could not be written, whichever one the system names.
        raise OSError(error.errno, error.strerror, path) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file last, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have nothing to sync there
            raise
    finally:
        os.close(descriptor)

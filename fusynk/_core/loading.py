"""`Graph.load`: declares what a graph file names, the way decorators do, once everything in it was checked."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import TypeVar, cast

from msgspec import UNSET

from fusynk._core.declaring import NOTHING_BOUND, declare_unit, members_of
from fusynk._core.finding import Allowance, Finder
from fusynk._core.graph_check import Checker, Draft
from fusynk._core.graph_file import EdgeEntry, UnitEntry, read_graph_file, refusal, step
from fusynk._core.layer import Layer, Process, Worker
from fusynk._core.markers import Artifact, when
from fusynk._core.options import Dependency, LayerOptions, Mode, unit_options
from fusynk._core.references import UnknownReference
from fusynk._core.registry import AnyLayer, Namespace
from fusynk._core.saved_options import SAVED_OPTIONS, UnsavableOption
from fusynk._core.unit import Members
from fusynk.errors import DeclarationError, UnknownOption

G = TypeVar("G", bound=Namespace)

_KINDS: Mapping[str, type[AnyLayer]] = MappingProxyType({"layer": Layer, "worker": Worker, "process": Process})

_BESIDE = ("name", "depends_on", "mode", "size", "delay")


def load_graph(make: Callable[[str], G], path: str, allow: Iterable[str | ModuleType]) -> G:
    """Return the graph that a file holds.

    Args:
        make: Makes an empty graph of a name.
        path: The file.
        allow: The modules that it may name; see `Graph.load`.

    Raises:
        GraphFileError: The file is refused.
        InvalidOption: `allow` is no list of modules.
        OSError: The file cannot be opened or read.
    """
    finder = Finder(Allowance(allow))
    file = read_graph_file(path)
    checker = Checker(path, finder)
    drafts = checker.checked(file)
    graph = make(file.name)
    graph.is_loaded = True
    builder = _Builder(path, finder, graph, checker.names)
    # Everything is found before anything is declared, so that most files that are refused are refused early.
    declarations = [builder.found(draft) for draft in drafts]
    for declaration in declarations:
        builder.declare(declaration)
    return graph


@dataclass(frozen=True, slots=True)
class _Declaration:
    """What a decorator takes.

    Attributes:
        draft: Where it comes from.
        function: The function, or `None`.
        options: Its keywords.
        bind: What the builder bound.
    """

    draft: Draft
    function: object
    options: LayerOptions
    bind: Mapping[str, Artifact[object] | str]


class _Builder:
    """Imports what checked units name, and declares them.

    Args:
        path: The file, for refusals.
        finder: Finds what is named.
        graph: Where they are declared.
        names: The names of all units of the file.
    """

    def __init__(self, path: str, finder: Finder, graph: Namespace, names: Collection[str]) -> None:
        self._path = path
        self._finder = finder
        self._graph = graph
        self._names = names

    def found(self, draft: Draft) -> "_Declaration":
        """Return a unit with what it names, found.

        Raises:
            GraphFileError: Something is not there, or an option is refused as a decorator would refuse it.
        """
        entry, place = draft.entry, draft.place
        function: object = None
        if entry.function is not None:
            with self._refusing(f"{place}.function"):
                function = self._finder.unit_function(entry.function)
        options = self._options(draft)
        options["name"] = entry.name
        if entry.depends_on:
            edges = enumerate(entry.depends_on)
            options["depends_on"] = [self._dependency(edge, f"{place}.depends_on[{index}]") for index, edge in edges]
        bind = {name: self._edge(edge, f"{place}.bind{step(name)}") for name, edge in entry.bind.items()}
        return _Declaration(draft, function, cast("LayerOptions", options), bind)

    def declare(self, declaration: "_Declaration") -> None:
        """Declare a unit; what it has as members was declared before.

        Raises:
            GraphFileError: It is refused as a decorator would refuse it.
        """
        draft = declaration.draft
        members = self._members(draft.entry, draft.place) if draft.entry.kind == "process" else None
        with self._refusing(draft.place):
            declare_unit(
                draft.decorator,
                _KINDS[draft.entry.kind],
                self._graph,
                declaration.function,
                options=declaration.options,
                members=members,
                bind=MappingProxyType(declaration.bind) if declaration.bind else NOTHING_BOUND,
            )

    def _options(self, draft: Draft) -> dict[str, object]:
        """Return the options as a decorator takes them, checked by the same rules."""
        options: dict[str, object] = {}
        for name, value in draft.options.items():
            where = f"{draft.place}.options{step(name)}"
            with self._refusing(where):
                if name not in SAVED_OPTIONS:
                    self._refuse_unknown(draft, name)
                options[name] = SAVED_OPTIONS[name].read(value, self._finder)
        try:
            unit_options(draft.decorator, options)
        except DeclarationError as error:
            raise refusal(self._path, _place_of(error, f"{draft.place}.options"), _told(error)) from error
        return options

    def _refuse_unknown(self, draft: Draft, name: str) -> None:
        if name not in _BESIDE:
            unit_options(draft.decorator, {name: None})
        raise UnknownOption(f"{name!r} stands beside the options, not among them")

    def _dependency(self, edge: str | EdgeEntry, where: str) -> Dependency:
        if isinstance(edge, str):
            return self._edge(edge, where)
        source = self._edge(edge.unit, f"{where}.unit")
        with self._refusing(f"{where}.when"):
            return when(cast("str", source), cast("Callable[[object], bool]", self._finder.function(edge.when)))

    def _edge(self, name: str, where: str) -> Artifact[object] | str:
        """Return what an edge leads to: a name, which is looked up at compile time, or a unit of a class."""
        if ":" not in name or name in self._names:
            return name
        with self._refusing(where):
            unit = self._finder.unit(name)
        # Kept as a name where a name leads to it, so that saving writes the same again.
        return name if "." not in name.partition(":")[2] else unit

    def _members(self, entry: UnitEntry, place: str) -> Members:
        units: list[Artifact[object]] = []
        for index, name in enumerate(entry.members):
            known = self._graph.find(name)
            with self._refusing(f"{place}.members[{index}]"):
                units.append(self._finder.unit(name) if known is None else known)
        mode = "parallel" if entry.mode is UNSET else entry.mode
        size = 2 if entry.size is UNSET else entry.size
        delay = 0.1 if entry.delay is UNSET else entry.delay
        try:
            return members_of(tuple(units), cast("Mode", mode), cast("int", size), cast("float", delay))
        except DeclarationError as error:
            where = _place_of(error, place)
            raise refusal(self._path, f"{place}.members" if where == place else where, _told(error)) from error

    def _refusing(self, where: str) -> "_Refusing":
        return _Refusing(self._path, where)


class _Refusing:
    """Turns what is wrong with a value into a refusal of the file.

    Args:
        path: The file.
        where: The place of the value.
    """

    __slots__ = ("_path", "_where")

    def __init__(self, path: str, where: str) -> None:
        self._path = path
        self._where = where

    def __enter__(self) -> None:
        """Look at the value."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Refuse the file for an error that speaks of the value."""
        if isinstance(error, (DeclarationError, UnknownReference, UnsavableOption)):
            raise refusal(self._path, self._where, _told(error)) from error


def _place_of(error: DeclarationError, place: str) -> str:
    """Return the place of the keyword that a decorator refused, below another one."""
    keyword = re.match(r"@[\w.]+(?:\(| has no option ')(\w+)", str(error))
    return place if keyword is None else f"{place}.{keyword[1]}"


def _told(error: Exception) -> str:
    text = str(error).removesuffix(".")
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."


_LONGEST_TOLD = 500

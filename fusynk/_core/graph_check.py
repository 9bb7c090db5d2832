"""What can be known of a graph file without importing anything: names, members, edges, and what it may name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from fusynk._core.finding import Finder
from fusynk._core.graph_file import EdgeEntry, GraphEntry, UnitEntry, read_option, refusal, step
from fusynk._core.references import UnknownReference, cut
from fusynk._core.saved_options import Saved, references_in
from fusynk._core.saving import MOST_EDGES, MOST_UNITS


@dataclass(frozen=True, slots=True)
class Draft:
    """A unit that was checked by itself.

    Attributes:
        entry: What the file says.
        options: Its options, as the file writes them.
        place: Where it is in the file.
    """

    entry: UnitEntry
    options: Mapping[str, Saved]
    place: str

    @property
    def decorator(self) -> str:
        """What would have declared it."""
        return "@layer.each" if self.entry.each else f"@{self.entry.kind}"


class Checker:
    """Checks everything that can be known without importing anything.

    Args:
        path: The file, for refusals.
        finder: Knows what may be imported.

    Attributes:
        names: The names of the units that were met so far.
    """

    def __init__(self, path: str, finder: Finder) -> None:
        self._path = path
        self._finder = finder
        self.names: set[str] = set()

    def checked(self, file: GraphEntry) -> list[Draft]:
        """Return the units with their options.

        Raises:
            GraphFileError: Something is wrong with one of them.
        """
        edges = 0
        for index, entry in enumerate(file.units):
            if entry.name in self.names:
                self._refuse(
                    f"$.units[{index}].name", f"{cut(entry.name)} is the name of an earlier unit; rename one of them"
                )
            self._check_kind(entry, f"$.units[{index}]")
            self.names.add(entry.name)
            edges += len(entry.depends_on) + len(entry.bind) + len(entry.members)
        for count, most, what in ((len(file.units), MOST_UNITS, "units"), (edges, MOST_EDGES, "edges")):
            if count > most:
                self._refuse("$.units", f"has {count} {what}, and a graph may have {most}")
        return [self._draft(entry, f"$.units[{index}]") for index, entry in enumerate(file.units)]

    def _check_kind(self, entry: UnitEntry, place: str) -> None:
        """Check that only a process has members, declared before it, and only a process has no function."""
        if entry.kind == "process":
            for index, member in enumerate(entry.members):
                if member not in self.names and ":" not in member:
                    problem = f"{cut(member)} is no unit that is declared above; put the members before their process"
                    self._refuse(f"{place}.members[{index}]", problem)
            return
        if entry.function is None:
            self._refuse(place, 'has no function; give it "function": "package.module:name", or "kind": "process"')
        group = {"mode": entry.mode, "size": entry.size, "delay": entry.delay, "members": entry.members or UNSET}
        for name, value in group.items():
            if value is not UNSET:
                self._refuse(f"{place}.{name}", f'is for "kind": "process", and this is a {entry.kind}; remove it')

    def _draft(self, entry: UnitEntry, place: str) -> Draft:
        for name, said in (("each", entry.each), ("bind", entry.bind)):
            if said and (entry.kind != "layer" or (name == "bind" and entry.each)):
                self._refuse(f"{place}.{name}", 'is for "kind": "layer" only, and bind not for a fan-out; remove it')
        options = {
            name: read_option(raw, self._path, f"{place}.options{step(name)}") for name, raw in entry.options.items()
        }
        for reference, where in self._references(entry, options, place):
            try:
                self._finder.check(reference)
            except UnknownReference as error:
                self._refuse(where, str(error))
        return Draft(entry, options, place)

    def _references(self, entry: UnitEntry, options: Mapping[str, Saved], place: str) -> Iterator[tuple[str, str]]:
        """Yield every import path that an entry holds, and where."""
        if entry.function is not None:
            yield entry.function, f"{place}.function"
        for name, value in options.items():
            for reference in references_in(name, value):
                yield reference, f"{place}.options.{name}"
        for index, edge in enumerate(entry.depends_on):
            if isinstance(edge, EdgeEntry):
                yield edge.when, f"{place}.depends_on[{index}].when"
        yield from ((name, f"{place}.{where}") for name, where in self._edges_elsewhere(entry))

    def _edges_elsewhere(self, entry: UnitEntry) -> Iterator[tuple[str, str]]:
        for index, edge in enumerate(entry.depends_on):
            name = edge.unit if isinstance(edge, EdgeEntry) else edge
            if self._is_elsewhere(name):
                yield name, f"depends_on[{index}]"
        for parameter, name in entry.bind.items():
            if self._is_elsewhere(name):
                yield name, f"bind{step(parameter)}"
        for index, name in enumerate(entry.members):
            if self._is_elsewhere(name):
                yield name, f"members[{index}]"

    def _is_elsewhere(self, name: str) -> bool:
        return ":" in name and name not in self.names

    def _refuse(self, where: str, problem: str) -> None:
        raise refusal(self._path, where, problem)

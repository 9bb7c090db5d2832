"""Graphs that files can hold. What writes and reads the files is imported when it is asked for."""

import os
from collections.abc import Iterable
from types import ModuleType
from typing import Self

from fusynk._core.registry import Namespace


class SavableGraph(Namespace):
    """A graph that can be saved and loaded."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the units' names and options to a file of JSON; functions are named by import path.

        The file is replaced at once, or stays as it was. Nothing else goes into it: no arguments, no results, no
        defaults of parameters.

        Args:
            path: The file. Only its owner may read it.

        Raises:
            UnsavableGraph: A unit holds what no import path leads to: a lambda, a local function, a partial, a plan.
            OSError: The file cannot be written.
        """
        from fusynk._core.saving import save_graph  # noqa: PLC0415 - few programs save

        save_graph(self, os.fsdecode(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, allow: Iterable[str | ModuleType]) -> Self:
        """Return the graph that a file holds. Declares its units anew, by the same checks as the decorators.

        In a plan of the graph, the units that functions name in their signatures by `use(unit)` are those of the graph.

        Args:
            path: A file that `save` wrote.
            allow: The modules that it may name; nothing else is imported. "pkg.orders" is that module, "pkg." the
                package and all that is below it. A file can make a step of every function of an allowed module.

        Raises:
            GraphFileError: The file is damaged, names what is not allowed, or says what a decorator would refuse.
            InvalidOption: `allow` is no list of modules.
            OSError: The file cannot be opened or read.
        """
        from fusynk._core.loading import load_graph  # noqa: PLC0415 - few programs load, and it needs msgspec

        return load_graph(cls, os.fsdecode(path), allow)

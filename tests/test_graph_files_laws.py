"""Laws of graph files over modules that hypothesis writes: the same plan, the same run, the same bytes."""

import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from fusynk import Graph
from tests.filing import facts

Draw = Callable[..., Any]

HEAD = '''
from zlib import crc32
from fusynk import Batch, Graph, Limit, backoff, each, layer, use, when

class Broken(Exception):
    """What some steps raise."""

def is_odd(value):
    return bool(value % 2)

def is_some(value):
    return bool(value)

def wait(attempt):
    return attempt / 4

def is_broken(error):
    return isinstance(error, Broken)

def instead(error):
    return 5

def undo(artifact):
    return None

def mixed(*values):
    shown = [sorted(map(repr, value)) if isinstance(value, Batch) else repr(value) for value in values]
    value = crc32(repr(shown).encode())
    if value % 7 == 0:
        raise Broken
    return value % 100

calls = Limit("calls", concurrency=3)
graph = Graph("drawn")

@layer
async def beside():
    return 3

def shared(p: int = 1, q: int = 2):
    return mixed("shared", p, q)
'''

OPTIONS: dict[str, list[str]] = {
    "priority": ["1", "-2"],
    "retries": ["0", "2"],
    "retry_delay": ["0.5", "wait", "backoff(0.5, jitter=False)"],
    "retry_on": ["Broken", "(KeyError, Broken)", "is_broken"],
    "on_error": ["'abort'", "'continue'", "'continue'", "instead"],
    "timeout": ["None"],
    "compensate": ["undo"],
    "limit": ["calls", "Limit('starts', rate='5/s')"],
    "tags": ["('a', 'b')"],
    "description": ["'größer\\n'"],
}


def draw_options(draw: Draw, *said: str) -> str:
    """Options of a decorator: those that are said already, and some more."""
    taken = {option.partition("=")[0] for option in said}
    names = sorted(OPTIONS.keys() - taken)
    chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    return ", ".join([*filter(None, said), *(f"{name}={draw(st.sampled_from(OPTIONS[name]))}" for name in chosen)])


class Module:
    """Writes the source of a module, a unit at a time.

    Args:
        draw: Draws from a strategy.
    """

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.known: list[tuple[str, str]] = []  # the variable and the name of each unit
        self.source = HEAD

    def write(self) -> str:
        """The source, without the module's own name where it says HERE."""
        kinds = [self.decorated, self.decorated, self.built, self.spread, self.process]
        for number in range(self.draw(st.integers(1, 7))):
            self.source += "\n" + self.draw(st.sampled_from(kinds))(number)
        return self.source

    def edge(self) -> str:
        """A unit as an edge names it: by its variable, its name, or an import path."""
        if not self.known:
            return "beside"
        variable, name = self.draw(st.sampled_from(self.known))
        return str(self.draw(st.sampled_from([variable, variable, repr(name), f"'HERE:{variable}'", "beside"])))

    def marker(self) -> str:
        """The default of a parameter."""
        edge = self.edge()
        use = f"use({edge}{', type=object' if edge.startswith(chr(39)) else ''}"
        forms = [f"{use})", f"{use}, default=-1)", f"{use}, default=-2, when=is_odd)", f"use.outcome({edge})", "4"]
        return str(self.draw(st.sampled_from(forms)))

    def order(self) -> str:
        """What a unit says of its order edges."""
        edges = [self.edge() for _ in range(self.draw(st.integers(0, 2)))]
        edges = [f"when({edge}, is_some)" if self.draw(st.booleans()) else edge for edge in edges]
        return f"depends_on=[{', '.join(edges)}]" if edges else ""

    def decorated(self, number: int) -> str:
        """A function with markers."""
        variable, name = f"f{number}", self.draw(st.sampled_from([f"f{number}", f"n {number}"]))
        markers = [f"a{place}={self.marker()}" for place in range(self.draw(st.integers(0, 2)))]
        options = draw_options(self.draw, f"name={name!r}", self.order())
        kind, start = (
            self.draw(st.sampled_from(["layer", "layer", "worker"])),
            self.draw(st.sampled_from(["", "async "])),
        )
        self.known.append((variable, name))
        values = ", ".join(["x", *(marker.partition("=")[0] for marker in markers)])
        head = f"@graph.{kind}({options})\n{start}def {variable}({', '.join(['x', *markers])}):"
        return f"{head}\n    return mixed({values})\n"

    def built(self, number: int) -> str:
        """One more unit over a function that others are over, too."""
        bound = sorted(self.draw(st.sets(st.sampled_from("pq"))))
        bind = f"bind={{{', '.join(f'{place!r}: {self.edge()}' for place in bound)}}}"
        options = draw_options(self.draw, f"name='built {number}'", self.order(), bind)
        self.known.append((f"b{number}", f"built {number}"))
        return f"b{number} = graph.add_layer(shared, {options})\n"

    def spread(self, number: int) -> str:
        """A fan-out and what it fans out over."""
        options = draw_options(self.draw, "on_error='continue'")
        self.known.append((f"e{number}", f"e{number}"))
        first = f"@graph.layer\nasync def l{number}():\n    return [1, 2, {number}]\n"
        return f"{first}@graph.layer.each({options})\nasync def e{number}(i=each(l{number})):\n    return mixed(i)\n"

    def process(self, number: int) -> str:
        """A process, with a function or without."""
        variables = [variable for variable, _ in self.known] or ["beside"]
        members = self.draw(st.lists(st.sampled_from(variables), max_size=3, unique=True))
        modes = ["mode='parallel'", "mode='sequential'", "mode='batched', size=3", "mode='isolated', delay=0.5"]
        listed = [*members, self.draw(st.sampled_from(modes)), draw_options(self.draw, "")]
        arguments = ", ".join(filter(None, listed))
        self.known.append((f"p{number}", f"p{number}"))
        if self.draw(st.booleans()):
            return f"p{number} = graph.process('p{number}', {arguments})\n"
        return f"@graph.process({arguments})\nasync def p{number}(x):\n    return mixed(x)\n"


_numbers = count()


@contextmanager
def imported(source: str) -> Generator[tuple[Any, Path]]:
    """The module of a source, and a folder that is there as long."""
    name = f"drawn_{next(_numbers)}"
    with TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.py").write_text(source.replace("HERE", name), "utf-8")
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield importlib.import_module(name), Path(folder)
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)


INPUTS = {"x": 4, "p": 2, "q": 3}


@given(st.data())
def test_a_saved_graph_is_the_same_graph(data: st.DataObject) -> None:
    source = Module(data.draw).write()
    note(source.removeprefix(HEAD))
    with imported(source) as (module, folder):
        graph: Graph = module.graph

        graph.save(folder / "one")
        loaded = Graph.load(folder / "one", allow=[module.__name__])
        loaded.save(folder / "other")

        assert facts(loaded, INPUTS) == facts(graph, INPUTS)
        assert list(loaded.units) == list(graph.units)
        assert (folder / "other").read_bytes() == (folder / "one").read_bytes()


def test_most_modules_that_are_drawn_make_a_plan() -> None:
    """Faults are compared, too, but the law is about plans."""
    plans: list[bool] = []

    @given(st.data())
    def collect(data: st.DataObject) -> None:
        with imported(Module(data.draw).write()) as (module, _):
            plans.append(not isinstance(facts(module.graph, INPUTS), str))

    collect()
    assert sum(plans) > len(plans) / 3, f"{sum(plans)} of {len(plans)}"

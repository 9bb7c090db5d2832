"""Graphs in files: what a file holds, how each option and function comes back, and what no file can hold."""

import re
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fusynk import Graph, Layer, Limit, backoff, compile_plan, layer, when
from fusynk._core.options import LayerOptions, UnitOptions, WorkerOptions
from fusynk._core.saved_options import SAVED_OPTIONS
from fusynk._core.saving import LONGEST_TEXT
from fusynk.errors import UnsavableGraph
from tests import depot
from tests.depot import plain
from tests.filing import PLACE, again, entries, facts, one_layer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.json"


# The file


def test_a_file_holds_names_and_options_that_were_said(file: Path) -> None:
    graph = Graph("orders")
    first = graph.add_layer(plain, name="first", retries=2, retry_on=ConnectionError, priority=0)
    graph.add_layer(depot.alone, name="second", depends_on=[when(first, depot.is_some), "third"])
    graph.add_layer(plain, name="third", bind={"count": first}, timeout=None, limit=depot.calls, weight=2)
    graph.process("group", first, mode="isolated")

    graph.save(file)

    assert file.read_text("utf-8") == (
        "{\n"
        '  "format": "fusynk graph",\n'
        '  "version": 1,\n'
        '  "name": "orders",\n'
        '  "units": [\n'
        "    {\n"
        '      "name": "first",\n'
        '      "kind": "layer",\n'
        '      "function": "tests.depot:plain",\n'
        '      "options": {"retries": 2, "retry_on": "builtins:ConnectionError"}\n'
        "    },\n"
        "    {\n"
        '      "name": "second",\n'
        '      "kind": "layer",\n'
        '      "function": "tests.depot:alone",\n'
        '      "depends_on": [{"unit": "first", "when": "tests.depot:is_some"}, "third"]\n'
        "    },\n"
        "    {\n"
        '      "name": "third",\n'
        '      "kind": "layer",\n'
        '      "function": "tests.depot:plain",\n'
        '      "options": {\n'
        '        "timeout": null,\n'
        '        "limit": {"name": "calls", "concurrency": 4, "rate": "40/10s"},\n'
        '        "weight": 2\n'
        "      },\n"
        '      "bind": {"count": "first"}\n'
        "    },\n"
        "    {\n"
        '      "name": "group",\n'
        '      "kind": "process",\n'
        '      "members": ["first"],\n'
        '      "mode": "isolated"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_an_empty_graph_is_saved_and_loaded(file: Path) -> None:
    loaded = again(Graph(""), file)

    assert (loaded.name, list(loaded.units)) == ("", [])
    assert type(loaded) is Graph


def test_what_no_reader_sees_is_escaped_and_other_scripts_stay_readable(file: Path) -> None:
    names = ["a\x1b[31m\nb", "\x9b31m", "\u202egnp.exe", "\ufeff", "größe ✓ 数 😀", 'quo"te\\', "\x00", "\x7f"]
    graph = Graph(names[0])
    for name in names:
        graph.add_layer(plain, name=name)

    loaded = again(graph, file)

    text = file.read_text("utf-8")
    assert list(loaded.units) == names
    assert loaded.name == names[0]
    assert "größe ✓ 数 😀" in text
    assert not [character for character in text if not character.isprintable() and character != "\n"]


def test_every_option_has_a_place_in_the_table_of_saved_options() -> None:
    declared = {*LayerOptions.__annotations__, *WorkerOptions.__annotations__} - {"name", "depends_on"}

    assert {one.name for one in fields(UnitOptions)} <= SAVED_OPTIONS.keys()
    assert SAVED_OPTIONS.keys() == declared


SAID: dict[str, Any] = {
    "description": "what it does",
    "priority": -3,
    "retries": 0,
    "retry_delay": depot.waiting_time,
    "retry_on": (OSError, depot.OutOfStock.Forever),
    "timeout": 2.5,
    "on_error": depot.nothing_instead,
    "compensate": depot.give_back,
    "limit": depot.calls,
    "weight": 2,
    "run_in": "inline",
    "abandon_on_timeout": True,
    "tags": ("a", "b"),
    "every": 60,
    "jitter": 5,
    "max_runs": 3,
    "heartbeat": 0.5,
}
SAID_OF_CRON = {"cron": "0 4 * * *", "timezone": "Europe/Berlin"}  # a unit has one schedule


@pytest.mark.parametrize("said", [SAID, SAID_OF_CRON])
def test_every_option_comes_back(said: dict[str, Any], file: Path) -> None:
    graph = Graph("options")
    loose_graph: Any = graph
    loose_graph.worker(**said, name="all")(plain)

    loaded = again(graph, file)

    assert SAID.keys() | SAID_OF_CRON.keys() == SAVED_OPTIONS.keys()
    assert loaded.units["all"].unit.options == graph.units["all"].unit.options
    assert entries(file)[0]["options"].keys() == said.keys()


FORMS: dict[str, dict[str, Any]] = {
    "seconds": {"retry_delay": 1.5},
    "a backoff": {"retry_delay": backoff(3)},
    "a backoff that says all": {"retry_delay": backoff(0.25, factor=1, max=2, jitter=False)},
    "an exception type": {"retry_on": KeyError},
    "no exception types": {"retry_on": ()},
    "a filter": {"retry_on": depot.is_passing},
    "a unit as a filter": {"retry_on": depot.later},
    "abort": {"on_error": "abort"},
    "continue": {"on_error": "continue"},
    "a builtin": {"on_error": str},
    "a class method": {"on_error": depot.Shelf.width},
    "a static method": {"on_error": depot.Shelf.height},
    "a function with a cache": {"on_error": depot.remembered},
    "no timeout": {"timeout": None},
    "a limit of concurrency": {"limit": Limit("one", concurrency=1)},
    "a limit of rate": {"limit": Limit("rate", rate="5/s")},
    "no tags": {"tags": []},
    "a large number": {"priority": 2**70},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_each_form_of_an_option_comes_back(file: Path, options: dict[str, Any]) -> None:
    graph = one_layer(**options)

    loaded = again(graph, file)

    assert loaded.units["one"].unit.options == graph.units["one"].unit.options


def test_units_that_share_a_limit_share_one_after_loading(file: Path) -> None:
    graph = one_layer(limit=depot.calls, weight=2)
    graph.add_layer(plain, name="other", limit=depot.calls)

    loaded = again(graph, file)

    assert {loaded.units[name].unit.options.limit for name in ("one", "other")} == {depot.calls}


@pytest.mark.parametrize(
    "function",
    [plain, depot.alone, depot.opened, depot.remembered, depot.Shelf.height, depot.Shelf.width, len],
    ids=lambda function: str(function.__qualname__),
)
def test_whatever_an_import_path_leads_to_comes_back(file: Path, function: Callable[..., object]) -> None:
    graph = one_layer(function)

    loaded = again(graph, file)

    assert loaded.units["one"].unit.function == function
    assert facts(loaded, {"obj": "abc"}) == facts(graph, {"obj": "abc"})


def test_a_unit_is_what_its_decorator_would_have_made(file: Path) -> None:
    depot.depot.save(file)

    loaded = Graph.load(file, allow=[depot])

    kinds = {name: (type(unit), unit.unit.kind, unit.unit.each) for name, unit in loaded.units.items()}
    assert kinds == {name: (type(unit), unit.unit.kind, unit.unit.each) for name, unit in depot.depot.units.items()}
    assert loaded.units["pack"].unit.options.tags == ("slow", "paid")
    assert loaded.units["group"].unit.location.file == __file__
    assert loaded.units["count"].unit.location == depot.count.unit.location
    assert all(unit.unit.namespace is loaded for unit in loaded)
    assert not any(unit is depot.depot.units[name] for name, unit in loaded.units.items())


def test_ordinary_calls_work_as_those_of_decorated_functions_do(file: Path) -> None:
    loaded = again(one_layer(), file)

    assert loaded.units["one"](count=2, other=3) == 23


# What cannot be saved


hasty = partial(depot.waiting_time)


class Counter:
    """A callable object."""

    secret = "hunter2"  # noqa: S105 (it is no secret)

    def __call__(self, count: int = 1) -> int:
        return count

    def method(self, count: int = 1) -> int:
        return count

    @layer
    async def step(self) -> int:
        return 1

    graph = Graph("of methods")

    @graph.layer
    async def bound(self) -> int:
        return 1


def swapped() -> int:
    return 1


def __hidden() -> int:
    return 1


swapped_before, swapped = swapped, plain


def test_everything_that_no_file_can_name_is_told_at_once(file: Path) -> None:
    graph = Graph("shop")
    loose_graph: Any = graph
    loose_graph.add_layer(lambda: 1, name="a lambda")
    loose_graph.add_layer(partial(plain, 4), name="a partial")
    loose_graph.add_layer(depot.local, name="a partial of a module")
    loose_graph.add_layer(Counter(), name="an object")
    loose_graph.add_layer(Counter().method, name="a method")
    loose_graph.add_layer(list[int]().append, name="a method of a list")
    loose_graph.add_layer(compile_plan(depot.outside), name="a plan")
    loose_graph.add_layer(swapped_before, name="another now")
    loose_graph.add_layer(globals()["__hidden"], name="hidden by its name")
    loose_graph.add_layer(plain, name="options", retry_delay=hasty, on_error=Counter(), compensate=dict)
    loose_graph.add_layer(plain, name="types", retry_on=(KeyError, type("Local", (Exception,), {})))
    edge = when(Counter().step, lambda count: count > 0)
    loose_graph.add_layer(plain, name="edges", depends_on=["no:unit:here", edge], bind={"count": hidden()})
    loose_graph.add_layer(plain, name="half \ud800", tags=["\ud800"], description="x" * (LONGEST_TEXT + 1))
    loose_graph.add_layer(plain, name="number", priority=10**1000)
    loose_graph.add_layer(plain, name="tests.depot:outside")
    loose_graph.add_layer(plain, name="ambiguous", depends_on=depot.outside)

    def local() -> int:
        return 1

    loose_graph.add_layer(local, name="a local")

    with pytest.raises(UnsavableGraph) as caught:
        graph.save(file)

    assert not file.exists()
    told = [re.sub(r"py:\d+", "py:N", PLACE.sub("", problem)) for problem in caught.value.problems]
    top, place = "write a def at the top of a module", "give it that name at the top of its module"
    private = "a path through a name that begins with '__' is not followed"
    one_name = "which is also a name in this one"
    bound = "which is bound to an object; no file can say to which"
    most = f"and a text in a file may have {LONGEST_TEXT}"
    test = "test_everything_that_no_file_can_name_is_told_at_once"
    assert told == [
        f"'a lambda' : its function is a lambda; {top}",
        f"'a partial' : its function is a partial, whose arguments are not saved; {top}",
        f"'a partial of a module' : its function is a partial, whose arguments are not saved; {top}",
        f"'an object' : its function is a Counter object, to which no import path leads; {top}",
        f"'a method' : its function is a method of a Counter object, which is not saved; {top}",
        f"'a method of a list' : its function is a {type(len).__name__} object, to which no import path leads; {top}",
        "'a plan' : its function is a plan, which no file holds; write a def that awaits plan.run(...)",
        f"'another now' : its function is not what '{__name__}:swapped' leads to; {place}",
        f"'hidden by its name' : its function names '{__name__}:__hidden'; {private}",
        f"'options' : its retry_delay is a partial, whose arguments are not saved; {top}",
        f"'options' : its on_error is a Counter object, to which no import path leads; {top}",
        f"'options' : its compensate is a class; {top}",
        f"'types' : its retry_on is not what '{__name__}:Local' leads to; {place}",
        "'edges' : in depends_on it names 'no:unit:here', which is no import path; write 'package.module:name'",
        f"'edges' : a condition in depends_on is a lambda; {top}",
        f"'edges' : in depends_on it has <layer 'step' at test_graph_files.py:N of a Counter>, {bound}",
        "'edges' : in bind it has 'hidden' , to which no import path leads; add it to this graph",
        "'half \\ud800' : its name is 'half \\ud800', which holds half of a surrogate pair",
        f"'half \\ud800' : its description has {LONGEST_TEXT + 1} characters, {most}",
        "'half \\ud800' : its tags is '\\ud800', which holds half of a surrogate pair",
        "'number' : its priority is too large a number for a file",
        f"'ambiguous' : in depends_on it has 'tests.depot:outside' of another graph, {one_name}",
        f"'a local' : its function is local to '{test}'; move it to the top of a module",
    ]
    message = str(caught.value).splitlines()
    assert message[0] == "Graph 'shop' cannot be saved, because it holds what no file can name:"
    assert message[1:] == [f"  {problem}." for problem in caught.value.problems]
    assert "hunter2" not in str(caught.value)


def hidden() -> Layer[..., Any, Any]:
    """A unit that no import path leads to."""
    return Graph("hidden").add_layer(plain, name="hidden")


def test_methods_that_are_units_cannot_be_saved(file: Path) -> None:
    with pytest.raises(UnsavableGraph, match="is a method of 'Counter', and no file can say of which object"):
        Counter.graph.save(file)


def test_a_graph_that_loading_would_refuse_for_its_size_is_not_saved(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = one_layer(depends_on=["x", "y"])
    monkeypatch.setattr("fusynk._core.saving.MOST_UNITS", 0)
    monkeypatch.setattr("fusynk._core.saving.MOST_EDGES", 1)
    monkeypatch.setattr("fusynk._core.saving.LARGEST_FILE", 100)

    with pytest.raises(UnsavableGraph) as caught:
        graph.save(file)

    assert caught.value.problems == (
        "it has 1 units, and a file may have 0",
        "it has 2 edges, and a file may have 1",
        "it would have 208 bytes, and a file may have 100",
    )
    assert not file.exists()

"""S6, S7, S8, S13, S14: a graph file from a stranger runs nothing, reads nothing, writes nothing, and costs little."""

import copy
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusynk import Graph, compile_plan, layer, use
from fusynk.errors import GraphFileError, InvalidOption
from tests import depot as depot_module
from tests import loose
from tests.depot import depot, plain
from tests.filing import again, facts, one_layer
from tests.hostile_files import CASES, HOSTILE, NAMES, UNIT, WRONG, graph_of, unit_with

DEPOT = "tests.depot"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.json"


def refused(file: Path, content: object, allow: Any = (DEPOT,)) -> GraphFileError:
    """The refusal of a file; it tells where and what, harms no terminal, and comes in less than a second."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    file.write_bytes(raw)
    started = time.process_time()
    with pytest.raises(GraphFileError) as caught:
        Graph.load(file, allow=allow)
    assert time.process_time() - started < 1
    assert file.read_bytes() == raw
    error = caught.value
    assert error.path == str(file)
    assert str(error).startswith(f"{str(file)!r}, {error.where}: " if error.where else f"{str(file)!r} ")
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    return error


# What may be named


ALLOWED: dict[str, Any] = {
    "its name": ["tests.depot"],
    "its package": ["tests."],
    "itself": [depot_module],
    "among others": ("os", "tests.depot"),
    "in a set": {"tests.depot"},
    "in a generator": (name for name in ["tests.depot"]),
}


@pytest.mark.parametrize("allow", ALLOWED.values(), ids=ALLOWED)
def test_a_module_is_allowed_by_name_by_package_or_itself(file: Path, allow: Any) -> None:
    file.write_text(json.dumps(graph_of(UNIT)))

    assert Graph.load(file, allow=allow).units["one"].unit.function is plain


@pytest.mark.parametrize(
    "allow", [[], ["tests"], ["depot"], ["tests.depo"], ["tests.depot.below"], ["test."], ["tests.depot_"], ["os."]]
)
def test_nothing_else_is(file: Path, allow: list[str]) -> None:
    error = refused(file, graph_of(UNIT), allow)

    assert error.where == "$.units[0].function"
    assert "'tests.depot' is not among the allowed modules" in str(error)
    assert "add 'tests.depot' to allow=[...]" in str(error)


UNLISTED: dict[str, Any] = {
    "a name": DEPOT,
    "a module": depot_module,
    "a number": 3,
    "None": None,
    "an empty name": [""],
    "a dot": ["."],
    "a star": ["*"],
    "no name": ["a b"],
    "a list of numbers": [3],
    "two dots": ["os..path"],
}


@pytest.mark.parametrize("allow", UNLISTED.values(), ids=UNLISTED)
def test_what_is_no_list_of_modules_is_refused_before_the_file_is_read(file: Path, allow: Any) -> None:
    load: Any = Graph.load

    with pytest.raises(InvalidOption, match=r"^Graph\.load\(allow="):
        load(file, allow=allow)


PLACES: dict[str, Callable[[str], object]] = {
    "$.units[0].function": lambda path: graph_of({**UNIT, "function": path}),
    "$.units[0].options.retry_on": lambda path: unit_with(options={"retry_on": path}),
    "$.units[0].options.retry_delay": lambda path: unit_with(options={"retry_delay": path}),
    "$.units[0].options.on_error": lambda path: unit_with(options={"on_error": path}),
    "$.units[0].options.compensate": lambda path: unit_with(options={"compensate": path}),
    "$.units[0].depends_on[0]": lambda path: unit_with(depends_on=[path]),
    "$.units[0].depends_on[0].when": lambda path: unit_with(depends_on=[{"unit": "one", "when": path}]),
    "$.units[0].bind.count": lambda path: unit_with(bind={"count": path}),
    "$.units[0].members[0]": lambda path: graph_of({"name": "p", "kind": "process", "members": [path]}),
}


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("where", PLACES)
def test_no_place_leads_to_what_an_allowed_module_only_imported(file: Path, where: str, path: str) -> None:
    error = refused(file, PLACES[where](path))

    assert error.where.startswith(where)


@pytest.mark.parametrize("where", PLACES)
def test_a_thing_of_another_kind_is_refused_in_every_place(file: Path, where: str) -> None:
    wrong = "tests.depot:plain" if where.endswith(("on[0]", "count", "members[0]")) else "tests.depot:Shelf"

    assert refused(file, PLACES[where](wrong)).where.startswith(where)


@pytest.mark.parametrize("path", ["tests.depot:OutOfStock", "tests.depot:OutOfStock.Forever", "builtins:KeyError"])
def test_an_exception_type_is_no_function(file: Path, path: str) -> None:
    for where in ("$.units[0].options.on_error", "$.units[0].depends_on[0].when", "$.units[0].function"):
        assert "which is no function" in str(refused(file, PLACES[where](path)))


@pytest.mark.parametrize("name", ["KeyError", "OSError", "BaseException", "ExceptionGroup"])
def test_builtin_exceptions_may_always_be_named(file: Path, name: str) -> None:
    file.write_text(json.dumps(unit_with(options={"retry_on": [f"builtins:{name}"]})))

    loaded = Graph.load(file, allow=["tests.depot"])

    assert loaded.units["one"].unit.options.retry_on == (
        vars(__builtins__)[name] if False else getattr(__import__("builtins"), name),
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of modules that note when they are imported, or that cannot be imported."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    sources = {
        "__init__": "",
        "good": "from stranger.deep import Owner, g, implicit, explicit, group\n"
        "def f(count: int = 1): return count\nOwner.put = f\n",
        "deep": "from fusynk import Graph, layer\ndef g(): ...\nclass Owner: ...\n"
        "@layer\ndef implicit(): ...\ngraph = Graph('deep')\n@graph.layer\ndef explicit(): ...\n"
        "group = graph.process('group', explicit)\n",
        "evil": "import sys; sys.modules['stranger_ran'] = sys\ndef f(): ...\n",
        "__main__": "import sys; sys.modules['stranger_ran'] = sys\ndef f(): ...\n",
        "broken": "1 / 0\n",
        "lacking": "import stranger_that_is_not_there\n",
        "lazy": "def __getattr__(name):\n    import stranger.evil\n    return stranger.evil.f\n",
        "tricky": "class Trap:\n    def __get__(self, *_): import stranger.evil\n"
        "class Meta(type):\n    def __getattr__(self, name): import stranger.evil\n"
        "class Owner(metaclass=Meta):\n    trap = Trap()\n",
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield "stranger"
    for name in [name for name in sys.modules if name.startswith("stranger")]:
        del sys.modules[name]


def strangers() -> set[str]:
    return {name for name in sys.modules if name.startswith("stranger")}


@pytest.mark.usefixtures("package")
def test_nothing_is_imported_that_is_not_allowed(file: Path) -> None:
    good = {**UNIT, "function": "stranger.good:f"}

    error = refused(file, graph_of(good, {**UNIT, "name": "two", "function": "stranger.evil:f"}), ["stranger.good"])

    assert error.where == "$.units[1].function"
    assert strangers() == set()


@pytest.mark.usefixtures("package")
def test_what_is_allowed_brings_what_it_imports_itself_and_no_more_may_be_named(file: Path) -> None:
    file.write_text(json.dumps(graph_of({**UNIT, "function": "stranger.good:f"})))
    Graph.load(file, allow=["stranger.good"])
    assert strangers() == {"stranger", "stranger.good", "stranger.deep"}

    error = refused(file, graph_of({**UNIT, "function": "stranger.good:g"}), ["stranger.good"])
    assert "was defined in 'stranger.deep'" in str(error)

    file.write_text(json.dumps(graph_of({**UNIT, "function": "stranger.good:g"})))
    assert list(Graph.load(file, allow=["stranger."]).units) == ["one"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "path",
    ["lazy:f", "lazy:evil.f", "tricky:Owner.trap", "tricky:Owner.other", "__main__:f", "good:f.evil", "evil.f:f"],
)
def test_looking_something_up_runs_no_code(file: Path, path: str) -> None:
    allow = ["stranger.lazy", "stranger.tricky", "stranger.good"] if path != "__main__:f" else ["stranger."]

    refused(file, graph_of({**UNIT, "function": f"stranger.{path}"}), allow)

    assert "stranger_ran" not in sys.modules


@pytest.mark.usefixtures("package")
def test_a_module_that_is_not_there_is_told_and_one_that_fails_raises_its_own_error(file: Path) -> None:
    error = refused(file, graph_of({**UNIT, "function": "stranger.nowhere:f"}), ["stranger."])
    assert "there is no 'stranger.nowhere'" in str(error)
    assert isinstance(error.__cause__, LookupError)

    for name, kind in (("broken", ZeroDivisionError), ("lacking", ModuleNotFoundError)):
        file.write_text(json.dumps(graph_of({**UNIT, "function": f"stranger.{name}:f"})))
        with pytest.raises(kind):
            Graph.load(file, allow=["stranger."])


@pytest.mark.usefixtures("package")
def test_compiling_a_loaded_graph_imports_nothing_more(file: Path) -> None:
    again(one_layer(depends_on=["tests.depot:outside"]), file)
    refused(file, unit_with(depends_on=["stranger.evil:f"]))
    file.write_text(json.dumps(unit_with(depends_on=["stranger.evil"], bind={"count": "stranger"})))

    loaded = Graph.load(file, allow=[DEPOT])

    assert "nothing declares" in str(facts(loaded, {}))
    assert strangers() == set()


# What is no graph file


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_by_one_error_that_says_where_and_why(file: Path, name: str) -> None:
    content, where, told = CASES[name]

    error = refused(file, content)

    assert told in str(error)
    assert error.where == where


OPTIONS: dict[str, list[object]] = {
    "description": [3, None, ["a"]],
    "priority": [1.0, True, "1", None],
    "retries": [-1, 1001, 1.5, True, "3", None, ["1"]],
    "retry_delay": [-1, True, "soon", None, ["1"]],
    "retry_on": [None, 3, True],
    "timeout": [0, -1, True, "5"],
    "on_error": ["stop", None, 3, ["abort"]],
    "compensate": ["later", 3, []],
    "limit": ["tmdb", 3, ["tmdb"]],
    "run_in": ["cloud", None, 3],
    "abandon_on_timeout": [1, "true", None],
    "tags": ["a", 3, None],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_refused_in_the_words_of_the_decorator(file: Path, name: str) -> None:
    for value in OPTIONS[name]:
        decorator: Any = loose.layer
        with pytest.raises(InvalidOption) as caught:
            decorator(**{name: value})(plain)

        error = refused(file, unit_with(options={"priority": 1, "tags": ["a"], name: value}))

        assert error.where == f"$.units[0].options.{name}"
        assert str(caught.value) in str(error)
        assert isinstance(error.__cause__, InvalidOption)


@pytest.mark.parametrize(
    ("options", "where", "told"),
    [
        ({"retry_delay": {}}, "retry_delay", "must be seconds"),
        ({"retry_delay": {"base": 1, "step": 2}}, "retry_delay", "must be seconds"),
        ({"retry_delay": {"base": "1"}}, "retry_delay", "backoff(base=...) must be a number"),
        ({"retry_delay": {"base": 1, "factor": 0}}, "retry_delay", "backoff(factor=...) must be a number"),
        ({"retry_delay": {"base": 1, "jitter": "no"}}, "retry_delay", "has jitter 'no'"),
        ({"limit": {"concurrency": 1}}, "limit", 'must be {"name": ...'),
        ({"limit": {"name": "a"}}, "limit", "limits nothing"),
        ({"limit": {"name": "a", "rate": "fast"}}, "limit", "must be starts per time"),
        ({"limit": {"name": 3, "concurrency": 1}}, "limit", "the name must be a text"),
        ({"limit": {"name": "a", "concurrency": True}}, "limit", "must be a whole number"),
        ({"limit": {"name": "a", "concurrency": 1}, "weight": 2}, "weight", "is more than"),
        ({"weight": 2}, "weight", "counts for nothing"),
        ({"tags": {"a": 1}}, "tags", "must be a list of texts"),
        ({"retry_on": ["KeyError"]}, "retry_on", "write 'package.module:name'"),
        ({"retry_on": ["builtins:int"]}, "retry_on", "exception types"),
        ({"run_in": "thread"}, "", ""),
    ],
    ids=str,
)
def test_options_that_are_objects_are_checked_too(file: Path, options: dict[str, Any], where: str, told: str) -> None:
    if not where:
        content = graph_of({**UNIT, "function": "tests.depot:alone", "options": options})
        assert 'run_in="thread") on a coroutine' in str(refused(file, content))
        return

    error = refused(file, unit_with(options=options))

    assert told in str(error)
    assert error.where == f"$.units[0].options.{where}"


def test_a_file_that_ends_too_early_is_refused_wherever_it_ends(file: Path) -> None:
    depot.save(file)
    content = file.read_bytes().rstrip()
    started = time.process_time()

    for end in range(len(content)):
        file.write_bytes(content[:end])
        with pytest.raises(GraphFileError, match=r"is no JSON|is not UTF-8"):
            Graph.load(file, allow=[DEPOT])

    assert time.process_time() - started < len(content) / 100


def attempt(file: Path) -> Graph | None:
    """The graph of a file, or `None` if it is refused in a way that harms no terminal."""
    try:
        return Graph.load(file, allow=[DEPOT])
    except GraphFileError as error:
        told = str(error)
    assert told.isprintable()
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a document."""
    yield path
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        parts = list(cast("dict[object, object]", value).items())
    elif isinstance(value, list):
        parts = list(enumerate(cast("list[object]", value)))
    for key, part in parts:
        yield from places(part, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy of a document with another part at one place."""
    if not path:
        return value
    copied = copy.deepcopy(document)
    part = copied
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copied


def test_a_wrong_value_in_any_place_is_refused_or_harmless(file: Path) -> None:
    depot.save(file)
    document = json.loads(file.read_text("utf-8"))
    counts = {"refused": 0, "loaded": 0}

    for path in places(document):
        for value in WRONG:
            content = json.dumps(changed(document, path, value))
            file.write_text(content)
            counts["refused" if attempt(file) is None else "loaded"] += 1

    assert counts["refused"] > 5 * counts["loaded"] > 0, counts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_file_holds_it_is_loaded_or_refused_by_one_error(file: Path, data: st.DataObject) -> None:
    depot.save(file)
    document = json.loads(file.read_text("utf-8"))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))))
        document = changed(document, path, data.draw(JSON))
    content = json.dumps(document).encode()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(st.binary(max_size=4)) + content[at + data.draw(st.integers(0, 4)) :]
    file.write_bytes(content)

    loaded = attempt(file)

    if loaded is not None:
        facts(loaded, {"product": "abc"})


# What is no file


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    depot.save(tmp_path / "target")
    file.symlink_to(tmp_path / "target")

    with pytest.raises(GraphFileError, match="is a symbolic link; give the path of the file itself"):
        Graph.load(file, allow=[DEPOT])


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(file: Path, tmp_path: Path) -> None:
    os.mkfifo(file)

    for path in (file, Path(os.devnull), Path("/dev/zero"), tmp_path):
        with pytest.raises(GraphFileError, match="is no regular file"):
            Graph.load(path, allow=[DEPOT])


def test_a_file_that_is_not_there_is_the_system_s_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Graph.load(file, allow=[DEPOT])

    assert caught.value.filename == str(file)


def test_the_size_is_looked_at_before_anything_is_read(file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(2**40)

    with pytest.raises(GraphFileError, match=f"has {2**40} bytes, which is more than the {2**24}"):
        Graph.load(file, allow=[DEPOT])


def test_the_bounds_hold_for_reading_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = graph_of(UNIT, {**UNIT, "name": "two", "depends_on": ["one"], "bind": {"count": "one"}})

    monkeypatch.setattr("fusynk._core.graph_check.MOST_EDGES", 1)
    assert "has 2 edges, and a graph may have 1" in str(refused(file, content))
    monkeypatch.setattr("fusynk._core.graph_check.MOST_UNITS", 1)
    assert "has 2 units, and a graph may have 1" in str(refused(file, content))


# What it costs


def seconds_of(size: int, edges: int, file: Path) -> float:
    """The least CPU time of saving and loading a graph, of three times."""
    graph = Graph("large")
    for number in range(size):
        before = [f"step {earlier}" for earlier in range(max(0, number - edges), number)]
        graph.add_layer(plain, name=f"step {number}", depends_on=before, retries=1, retry_on=KeyError)
    found: list[float] = []
    for _ in range(3):
        started = time.process_time()
        again(graph, file)
        found.append(time.process_time() - started)
    return min(found)


@pytest.mark.parametrize("edges", [3, 100])
def test_ten_times_the_graph_takes_at_most_thirteen_times_as_long(file: Path, edges: int) -> None:
    # A neighbour's load only ever adds to a ratio, and one that is not linear is near 100 each time.
    growths = (seconds_of(4000, edges, file) / seconds_of(400, edges, file) for _ in range(5))

    assert any(growth <= 13 for growth in growths)


def test_edges_of_all_to_all_are_read_in_time(file: Path) -> None:
    """A million of them."""
    units = [{**UNIT, "name": f"{number}", "depends_on": [f"{n}" for n in range(number)]} for number in range(1400)]
    file.write_text(json.dumps(graph_of(*units)))
    started = time.process_time()

    loaded = Graph.load(file, allow=[DEPOT])

    assert time.process_time() - started < 5
    assert len(loaded.units["1399"].unit.depends_on) == 1399


# What a file gives away, and where it is written


@pytest.mark.parametrize("number", range(len(NAMES)), ids=[ascii(name[:20]) for name in NAMES])
def test_a_name_is_never_part_of_a_path_and_comes_back_as_it_was(file: Path, number: int) -> None:
    name = NAMES[number]
    graph = Graph(name)
    graph.add_layer(plain, name=name, description=name, tags=[name])
    graph.add_layer(plain, name="after", depends_on=name, bind={"count": name})

    loaded = again(graph, file)

    assert [loaded.name, *loaded.units] == [name, name, "after"]
    assert list(file.parent.iterdir()) == [file]
    assert file.read_text("utf-8").replace("\n", "").isprintable()
    assert facts(loaded, {}) == facts(graph, {})


CANARY = "hunter2-" + "c4n4ry"


@layer
async def source(password: str = CANARY) -> str:
    return password


vault = Graph("vault")


@vault.layer(retries=1)
async def opened(secret: str = use(source, default=CANARY), *, key: str = CANARY) -> str:
    """Needs hunter2-c4n4ry."""
    return f"{secret} {key}"


def test_a_file_holds_no_argument_no_result_no_default_and_no_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSYNK_TEST_REDIS_URL", f"redis://:{CANARY}@host")
    compile_plan(vault).run_sync(password=CANARY)

    vault.save(file)
    loaded = Graph.load(file, allow=[__name__])
    loaded.save(file)

    assert CANARY not in file.read_text("utf-8")
    assert set(json.loads(file.read_text("utf-8"))["units"][0]) == {"name", "kind", "function", "options"}

"""A graph from a file compiles to the same plan: its units stand for those of the code in every edge."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fusynk import Graph, compile_plan, use, when
from fusynk.errors import FusynkError, InvalidPlan
from fusynk.testing import simulate
from tests import depot
from tests.depot import plain
from tests.filing import again, entries, facts, one_layer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.json"


# The same plan


def test_the_plan_is_the_same(file: Path) -> None:
    loaded = again(depot.depot, file)

    for inputs in ({"product": "abc"}, {"product": ""}):
        assert facts(loaded, inputs) == facts(depot.depot, inputs)


def test_saving_what_was_loaded_writes_the_same_bytes(file: Path) -> None:
    loaded = again(depot.depot, file)
    content = file.read_bytes()

    loaded.save(file)

    assert file.read_bytes() == content


def test_the_file_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    contents: set[bytes] = set()
    for seed in ("0", "1", "2"):
        program = f"from tests.depot import depot; depot.save({str(tmp_path / seed)!r})"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
        contents.add((tmp_path / seed).read_bytes())

    assert len(contents) == 1


def test_loading_in_another_program_gives_the_same_plan(file: Path) -> None:
    depot.depot.save(file)
    program = (
        "from fusynk import Graph, compile_plan\n"
        f"plan = compile_plan(Graph.load({str(file)!r}, allow=['tests.depot']))\n"
        "print(plan.order)"
    )

    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout.strip() == repr(compile_plan(depot.depot).order)


def test_importing_fusynk_imports_nothing_that_only_files_need() -> None:
    needed = {"msgspec", "fusynk._core.saving", "fusynk._core.loading"}
    program = f"import sys, fusynk; print({needed} & sys.modules.keys())"

    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "set()"


# Edges


def test_markers_lead_to_the_loaded_units(file: Path) -> None:
    loaded = again(depot.depot, file)

    plan = compile_plan(loaded).override(loaded.units["count"].returns(1))
    trace = simulate(plan, {"product": "abc"})

    assert trace.run[loaded.units["reserve"]] == [1, 1]
    assert trace.run["group"] == {"count": 1, "reserve": [1, 1], "outside": 100}
    with pytest.raises(FusynkError, match="count"):
        plan.override(depot.count.returns(1))


def test_a_function_of_two_units_keeps_both_apart(file: Path) -> None:
    graph = Graph("two")
    first = graph.add_layer(plain, name="first")
    second = graph.add_layer(plain, name="second", bind={"count": first})
    graph.add_layer(plain, name="third", bind={"count": second, "other": first})

    loaded = again(graph, file)

    assert facts(loaded, {"count": 1, "other": 2}) == facts(graph, {"count": 1, "other": 2})
    assert simulate(compile_plan(loaded), {"count": 1, "other": 2}).result == {"third": 1232}


Write = Callable[[str], Any]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module that no other test has, and imports it."""
    names: list[str] = []
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write_module(source: str) -> Any:
        names.append(f"{tmp_path.name}_{len(names)}".replace("-", "_"))
        (tmp_path / f"{names[-1]}.py").write_text(source.replace("HERE", names[-1]), "utf-8")
        importlib.invalidate_caches()
        return importlib.import_module(names[-1])

    yield write_module
    for name in names:
        sys.modules.pop(name, None)


LEADING = """
from fusynk import Graph, use
graph, other = Graph("leading"), Graph("other")

def bare() -> int:
    return 1

made = graph.add_layer(bare, name="made")
gone = graph.add_layer(bare, name="gone")
group = graph.process("group", made)

@other.layer
async def beside(group: object = use(group)) -> str:
    return f"beside {group}"

@graph.layer
async def by_path(one: int = use("HERE:made", type=int), two: object = use(group), three: str = use(beside)) -> str:
    return f"{one} {two} {three}"

@graph.layer(depends_on=["by_path", "HERE:beside"], bind={})
async def late(rest: int = use(gone), by_name: str = use("by_path", type=str)) -> str:
    return f"{rest} {by_name}"

graph.remove_layer("gone")
""".replace(", bind={}", "")


def test_every_way_to_write_an_edge_leads_to_the_loaded_unit(file: Path, write: Write) -> None:
    module = write(LEADING)
    module.graph.save(file)

    loaded = Graph.load(file, allow=[module])

    plan = compile_plan(loaded).override(loaded.units["made"].returns(5))
    assert simulate(compile_plan(loaded)).result == simulate(compile_plan(module.graph)).result
    # By an import path, through a process without a function, and through a unit of another graph that leads back.
    assert simulate(plan).result == {"late": "1 5 {'made': 5} beside {'made': 5}"}


def test_what_was_removed_before_saving_is_reached_through_markers_as_before(file: Path, write: Write) -> None:
    module = write(LEADING)
    module.graph.save(file)

    loaded = Graph.load(file, allow=[module])

    assert "gone" not in loaded.units
    assert simulate(compile_plan(loaded)).run[module.gone] == 1


def test_the_graph_that_was_saved_keeps_its_own_units(file: Path) -> None:
    before = facts(depot.depot, {"product": "abc"})

    loaded = again(depot.depot, file)
    loaded.remove_layer("later")

    assert facts(depot.depot, {"product": "abc"}) == before


def test_a_file_loaded_twice_gives_two_graphs(file: Path) -> None:
    one, other = again(depot.depot, file), Graph.load(file, allow=[depot])
    expected = facts(depot.depot, {"product": "abc"})

    assert facts(one, {"product": "abc"}) == facts(other, {"product": "abc"}) == expected
    one.add_layer(plain, name="x", bind={"count": other.units["later"]})
    with pytest.raises(InvalidPlan) as caught:
        compile_plan(one)
    assert "'count' (depot.py" in str(caught.value)


def test_two_loaded_graphs_in_one_plan_keep_to_their_own_units(tmp_path: Path, write: Write) -> None:
    module = write(
        """
from fusynk import Graph, use
graph = Graph("both")
@graph.layer
async def alone() -> int:
    return 1
@graph.layer
async def check() -> int:
    return 2
@graph.layer
async def user(checked: int = use(check)) -> int:
    return checked
"""
    )
    module.graph.save(tmp_path / "graph.json")
    one, other = (Graph.load(tmp_path / "graph.json", allow=[module]) for _ in range(2))

    plan = compile_plan(one.units["alone"], other.units["user"])

    assert simulate(plan.override(other.units["check"].returns(5))).result == (1, 5)


def test_a_unit_of_the_same_name_over_another_function_does_not_stand_in(file: Path) -> None:
    graph = one_layer(name="outside")
    graph.add_layer(plain, name="user", bind={"count": depot.outside, "other": "outside"})

    loaded = again(graph, file)

    assert entries(file)[1]["bind"] == {"count": "tests.depot:outside", "other": "outside"}
    assert "'outside'  has the name of 'outside' " in str(facts(graph, {}))
    assert facts(loaded, {}) == facts(graph, {})


MAIN = """
from fusynk import Graph, compile_plan
graph = Graph("script")
@graph.layer
def one() -> int:
    return 1
@graph.layer(depends_on="one")
def two(one: int) -> int:
    return one + 1
if __name__ == "__main__":
    graph.save("graph.json")
    print(compile_plan(Graph.load("graph.json", allow=["__main__"])).run_sync().result)
"""


def test_a_script_saves_and_loads_its_own_functions(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(MAIN)

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert (run.stdout, run.stderr) == ("{'two': 2}\n", "")
    assert '"function": "__main__:one"' in (tmp_path / "graph.json").read_text()


def test_a_loaded_graph_goes_on_being_built(file: Path) -> None:
    loaded = again(depot.depot, file)
    loaded.remove_layer("later")
    loaded.add_layer(depot.later.__wrapped__, name="later", priority=4)

    @loaded.layer
    async def more(
        text: str = use("shipped", type=str), added: int = use(depot.added), late: int = use(depot.later)
    ) -> str:
        return f"{text[:8]} {added} {late}"

    plan = compile_plan(loaded)
    assert "priority=4" in plan.explain()
    assert simulate(plan, {"product": "abc"}).run[more] == "<Batch 2 1032 2"


def test_a_unit_that_was_declared_elsewhere_and_added_keeps_its_edges(file: Path, write: Write) -> None:
    module = write(
        """
from fusynk import Graph, layer, use
@layer
async def first() -> int:
    return 1
@layer(depends_on="first")
async def second(third: int = use("third", type=int)) -> int:
    return third
@layer(depends_on="HERE:first")
async def third() -> int:
    return 3
graph = Graph("gathered")
graph.add(third)
graph.add(second)
"""
    )
    module.graph.save(file)

    loaded = Graph.load(file, allow=[module.__name__])

    assert entries(file)[0]["name"] == "second"
    assert entries(file)[0]["depends_on"] == [f"{module.__name__}:first"]
    assert facts(loaded, {}) == facts(module.graph, {})


def test_an_edge_to_nothing_is_a_fault_of_the_plan_as_before(file: Path) -> None:
    graph = one_layer(depends_on=["nothing", when("tests.depot:renamed", bool)])

    loaded = again(graph, file)

    assert "'nothing', which nothing declares" in str(facts(graph, {}))
    assert facts(loaded, {}) == facts(graph, {})


def test_edges_to_units_of_other_graphs_are_import_paths(file: Path) -> None:
    graph = one_layer(
        depends_on=[depot.sized, depot.written_otherwise, depot.Shelf.depth, depot.nested],
        bind={"count": depot.outside, "other": "tests.depot:size"},
    )
    graph.process("group", depot.count, graph.units["one"], depot.Shelf.depth)

    loaded = again(graph, file)

    one, group = entries(file)
    assert one["depends_on"] == [
        "tests.depot:size",
        "tests.depot:written_otherwise",
        "tests.depot:Shelf.depth",
        "tests.depot:nested",
    ]
    assert one["bind"] == {"count": "tests.depot:outside", "other": "tests.depot:size"}
    assert group["members"] == ["tests.depot:count", "one", "tests.depot:Shelf.depth"]
    assert facts(loaded, {"obj": "ab", "product": "p"}) == facts(graph, {"obj": "ab", "product": "p"})
    content = file.read_bytes()
    loaded.save(file)
    assert file.read_bytes() == content

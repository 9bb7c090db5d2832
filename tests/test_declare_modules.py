"""Every module has a graph of its own: its names, what replaces what, and what compiling it means."""

import gc
import importlib
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from fusynk import Graph, compile_plan, layer
from fusynk.errors import FusynkError, InvalidPlan
from fusynk.testing import simulate

Write = Callable[..., ModuleType]

STOCK = """
    from fusynk import layer

    @layer
    async def check(count: int) -> int:
        return 10 - count

    def plain(): ...

    number = 3
"""
ORDERS = """
    from fusynk import layer, use
    from kiosk.stock import check

    @layer
    async def order(left: int = use(check)) -> str:
        return f"order of {left}"

    @layer(depends_on="kiosk.late:later")
    async def notify() -> str:
        return "told"

    size = layer(len, name="size")

    @layer(name="known_as")
    async def written_as() -> None: ...
"""
LATE = """
    from fusynk import layer, use

    @layer
    async def later(order: str = use("kiosk.orders:order", type=str), one: int = use("short", type=int)) -> str:
        return order * one

    @layer(name="short")
    async def long_name() -> int:
        return 1
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of the package `kiosk` and imports it, or reloads it where it was imported before."""
    package = tmp_path / "kiosk"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    # A second version of a file is often written within the second that the cache of bytecode tells apart.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_module(name: str, source: str, *, load: bool = True) -> Any:
        (package / f"{name}.py").write_text(dedent(source))
        importlib.invalidate_caches()
        if not load:
            return None
        known = sys.modules.get(f"kiosk.{name}")
        return importlib.reload(known) if known else importlib.import_module(f"kiosk.{name}")

    yield write_module
    for name in [name for name in sys.modules if name.partition(".")[0] == "kiosk"]:
        del sys.modules[name]


@pytest.fixture
def orders(write: Write) -> ModuleType:
    write("stock", STOCK)
    write("late", LATE, load=False)
    return write("orders", ORDERS)


@pytest.mark.usefixtures("orders")
def test_compiling_a_module_runs_every_unit_of_it_and_what_they_reach() -> None:
    plan = compile_plan("kiosk.orders")

    result = simulate(plan, {"count": 3, "obj": "abcd"}).result

    assert result == {"notify": "told", "size": 4, "known_as": None}
    assert set(plan.order) == {"check", "order", "notify", "size", "known_as", "later", "short"}


def test_a_module_may_be_given_itself(orders: ModuleType) -> None:
    assert compile_plan(orders).order == compile_plan("kiosk.orders").order


@pytest.mark.usefixtures("orders")
def test_a_module_is_imported_when_it_is_compiled_by_name(write: Write) -> None:
    write("fresh", "from fusynk import layer\n@layer\nasync def only(): return 1\n", load=False)

    assert simulate(compile_plan("kiosk.fresh")).result == {"only": 1}


@pytest.mark.parametrize("name", ["order", "known_as", "written_as", "size", "check"])
def test_an_import_path_finds_a_unit_by_its_name_and_by_its_variable(orders: ModuleType, name: str) -> None:
    @layer(depends_on=f"{orders.__name__}:{name}")
    async def after() -> None: ...

    expected = {"written_as": "known_as"}.get(name, name)
    assert compile_plan(after).order[-2:] == (expected, "after")


def test_two_modules_may_name_each_other(orders: ModuleType) -> None:
    plan = compile_plan(orders)

    run = simulate(plan, {"count": 3, "obj": ""}).run

    assert run["later"] == "order of 7"


def test_a_name_of_another_module_is_not_found_without_its_path(orders: ModuleType) -> None:
    graph = Graph("elsewhere")
    graph.add_layer(lambda: 1, name="after", depends_on="order")

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(graph)

    assert orders.__name__ == "kiosk.orders"
    assert "'order', which nothing declares" in str(caught.value)


def test_a_path_to_nothing_says_what_is_there(write: Write, orders: ModuleType) -> None:
    paths = ["kiosk.nowhere:x", "kiosk.orders:ordr", "kiosk.stock:plain", "kiosk.stock:number", "kiosk.stock:"]
    graph = Graph("elsewhere")
    for number, path in enumerate(paths):
        graph.add_layer(lambda: 1, name=f"step{number}", depends_on=path)

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(graph)

    said = [str(fault) for fault in caught.value.exceptions]
    assert "there is no module 'kiosk.nowhere'" in said[0]
    assert "Did you mean 'order'?" in said[1]
    assert "@layer" in said[2]
    assert all(path in line for path, line in zip(paths, said, strict=True))


def test_an_import_error_inside_a_module_is_not_hidden(write: Write) -> None:
    write("broken", "import not_installed_anywhere\n", load=False)
    graph = Graph("elsewhere")
    graph.add_layer(lambda: 1, name="after", depends_on="kiosk.broken:step")

    for target in (graph, "kiosk.broken"):
        with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
            compile_plan(target)


@pytest.mark.parametrize(
    "name", ["kiosk.nowhere", "nowhere", "no such module", "", ".orders", "kiosk..orders", ":", ":x"]
)
@pytest.mark.usefixtures("orders")
def test_a_module_that_does_not_exist_is_refused_by_name(name: str) -> None:
    with pytest.raises(FusynkError) as caught:
        compile_plan(name)

    assert repr(name) in str(caught.value)


def test_a_module_without_units_compiles_to_an_empty_plan(write: Write) -> None:
    empty = write("empty", "number = 1\n")

    assert compile_plan(empty).order == ()


ONE_NAME_TWICE = """
    from fusynk import layer

    @layer
    async def step(): return "first"

    @layer
    async def step(): return "second"
"""


def test_p28_a_name_that_one_file_declares_twice_is_replaced_with_a_warning(write: Write) -> None:
    with pytest.warns(
        UserWarning, match=r"'step' \(twice\.py:7\) replaces the unit .* twice\.py:4; give one"
    ) as caught:
        twice = write("twice", ONE_NAME_TWICE)

    assert simulate(compile_plan(twice)).result == {"step": "second"}
    assert [Path(warning.filename).name for warning in caught] == ["twice.py"]
    assert caught[0].lineno == 7


def test_p28_a_reload_replaces_silently_even_when_lines_moved(write: Write) -> None:
    former = write("moving", "from fusynk import layer\n@layer\nasync def step(): return 1\n")
    plan = compile_plan(former)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = write("moving", "from fusynk import layer\n\n\n\n@layer\nasync def step(): return 2\n")

    assert simulate(compile_plan(module)).result == {"step": 2}
    assert simulate(plan).result == {"step": 1}


def test_p28_a_cell_of_a_notebook_replaces_silently() -> None:
    namespace: dict[str, Any] = {"__name__": "kiosk.notebook"}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in (1, 2, 3):
            source = "\n" * number + f"from fusynk import layer\n@layer\nasync def cell(): return {number}\n"
            exec(compile(source, f"<cell {number}>", "exec"), namespace)  # noqa: S102 - as a notebook does

    assert simulate(compile_plan(namespace["cell"])).result == 3


def test_classes_of_one_file_may_have_methods_of_one_name(write: Write) -> None:
    source = """
        from fusynk import layer, use

        class Parent:
            @layer
            async def load(self) -> str:
                return "parent"

            @layer
            async def show(self, loaded: str = use(load)) -> str:
                return loaded.upper()

        class Child(Parent):
            @layer
            async def load(self) -> str:
                return "child"

        class Stranger:
            @layer
            async def load(self) -> str:
                return "stranger"

            @layer(depends_on="load")
            async def show(self) -> str:
                return "shown"
    """

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module: Any = write("classes", source)

    assert simulate(compile_plan(module.Child().show)).result == "CHILD"
    assert simulate(compile_plan(module.Parent().show)).result == "PARENT"
    stranger = module.Stranger()
    assert simulate(compile_plan(stranger.show)).run[stranger.load] == "stranger"


def test_what_a_function_declares_does_not_join_its_module(write: Write) -> None:
    source = """
        from fusynk import layer

        def make(number):
            @layer
            def step():
                return number

            return step

        first, second = make(1), make(2)
    """

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module: Any = write("factory", source)

    assert compile_plan(module).order == ()
    assert simulate(compile_plan(module.first)).result == 1
    assert simulate(compile_plan(module.second)).result == 2


def test_what_a_function_declares_is_forgotten_with_its_last_holder(write: Write) -> None:
    source = """
        from fusynk import layer

        def make():
            @layer
            def step():
                return 1

            return step
    """
    module: Any = write("forgetful", source)
    unit = module.make()
    plan = compile_plan(unit)
    forgotten = weakref.ref(unit)

    del unit
    gc.collect()
    assert forgotten() is not None
    del plan
    gc.collect()

    assert forgotten() is None


def test_a_process_that_a_function_declares_does_not_join_its_module_either(write: Write) -> None:
    source = """
        from fusynk import layer, process

        def one():
            return process("group", layer(len, name="size"))

        def other():
            return process("group", layer(len, name="size"))

        groups = one(), other()
    """

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module: Any = write("groups", source)

    assert compile_plan(module).order == ()
    assert simulate(compile_plan(module.groups[0]), {"obj": "abc"}).result == {"size": 3}

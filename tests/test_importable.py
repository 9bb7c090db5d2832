"""Whether a subprocess could import a function, told without importing anything."""

import functools
import math
import operator
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fusynk import Graph, layer, worker
from fusynk._core.importable import why_not_importable
from tests.programs import crunching

ROOT = Path(__file__).parents[1]


def plain() -> int:
    return 1


@layer
def unit() -> int:
    return 1


@worker
def worker_unit() -> int:
    return 1


def wrapped(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def wrapper() -> int:
        return function()

    return wrapper


@layer
@wrapped
@wrapped
def under_three() -> int:
    return 1


@layer(name="another name")
def renamed() -> int:
    return 1


added: Any = Graph("added").add_layer(plain, name="added")


class Outer:
    """Holds a class, whose methods have longer names."""

    class Inner:
        """Units of every kind that a class can hold."""

        @layer
        def method(self) -> int:
            return 1

        @layer
        @staticmethod
        def static() -> int:
            return 1

        @layer
        @classmethod
        def of_class(cls) -> int:
            return 1

        def plain(self) -> int:
            return 1

        def __call__(self) -> int:
            return 1


class Derived(Outer.Inner):
    def method(self) -> int:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        return 2


double: Any = lambda: 1  # noqa: E731 - a lambda with a name is still a lambda
named: Any = lambda: 1  # noqa: E731
named.__qualname__ = "named"


def inside(unit: Any) -> Any:
    return unit.__wrapped__


IMPORTABLE: dict[str, Any] = {
    "a function": plain,
    "a unit": unit,
    "a worker": worker_unit,
    "the function under a unit": inside(unit),
    "a function under decorators": under_three,
    "the function under two of three": inside(inside(under_three)),
    "a unit with another name": renamed,
    "the function under it": inside(renamed),
    "a unit added by a builder": added,
    "a cached function under a unit": inside(crunching.double_cached),
    "a method of a nested class": Outer.Inner().plain,
    "a unit of a nested class": Outer.Inner.method,
    "its function": inside(Outer.Inner.method),
    "a unit seen through an instance": Outer.Inner().method,
    "the method under it": inside(Outer.Inner().method),
    "the hidden method of a base class": partial(inside(Outer.Inner.method), Derived()),
    "a static method": Outer.Inner.static,
    "the function of a static method": inside(Outer.Inner.static),
    "a class method": Outer.Inner.of_class,
    "an inherited class method": inside(Derived.of_class),
    "a partial": partial(plain),
    "a partial of a partial of a unit": partial(partial(added, 1), 2),
    "a class": Outer.Inner,
    "a callable object": Outer.Inner(),
    "a function in C": math.sqrt,
    "a built-in function": len,
    "a method in C": "text".upper,
    "a getter": operator.itemgetter(1),
    "a named lambda": named,
}


@pytest.mark.parametrize("kind", IMPORTABLE)
def test_can_be_imported(kind: str) -> None:
    assert why_not_importable(IMPORTABLE[kind]) == ""


def make_local() -> Any:
    def local() -> int:
        return 1

    return local


def make_local_object() -> Any:
    class Local:
        def __call__(self) -> int:
            return 1

    return Local()


def from_a_module_that_is_gone() -> Any:
    def lost() -> int:
        return 1

    lost.__qualname__, lost.__module__ = "lost", "gone.away"
    return lost


def from_nowhere() -> Any:
    def nameless() -> int:
        return 1

    nameless.__qualname__ = "nowhere"
    return nameless


LAMBDA = "is a lambda, which has no name that a subprocess could import; write a def at the top of a module"
LOCAL = (
    "is declared inside make_local(), where a subprocess cannot import it; write the def at the top of a module, "
    "and pass as arguments what it needs"
)
LOCAL_CLASS = (
    "is declared inside make_local_object(), where a subprocess cannot import it; write the class at the top of a "
    "module, and pass as arguments what it needs"
)
HIDDEN = (
    "cannot be imported as tests.programs.crunching.add_other, which is another function, 'add'; "
    "give the def a name of its own at the top of its module"
)
NOWHERE = (
    "cannot be imported as tests.test_importable.nowhere, which is nothing; "
    "give the def a name of its own at the top of its module"
)
GONE = "claims to be from 'gone.away', a module that is not loaded; write the def into a module on sys.path"
NOT_IMPORTABLE: dict[str, tuple[Any, str]] = {
    "a lambda": (lambda: 1, LAMBDA),
    "a lambda with a name": (double, LAMBDA),
    "a lambda as a unit": (layer(lambda: 1, name="a lambda as a unit"), LAMBDA),
    "a partial of a lambda": (partial(double), LAMBDA),
    "a local function": (make_local(), LOCAL),
    "a unit over a local function": (layer(make_local(), name="local unit"), LOCAL),
    "a partial of a local function": (partial(make_local()), LOCAL),
    "an object of a local class": (make_local_object(), f"is an object of the class 'Local', which {LOCAL_CLASS}"),
    "a local class": (type(make_local_object()), LOCAL_CLASS),
    "a function whose name is another's": (crunching.hidden, HIDDEN),
    "a function whose name is nobody's": (from_nowhere(), NOWHERE),
    "a function of a module that is gone": (from_a_module_that_is_gone(), GONE),
}


@pytest.mark.parametrize("kind", NOT_IMPORTABLE)
def test_cannot_be_imported(kind: str) -> None:
    function, reason = NOT_IMPORTABLE[kind]

    assert why_not_importable(function) == reason


WITHOUT_FILE = (
    "is declared in a __main__ without a file (an interactive session, a notebook or python -c), which a subprocess "
    "cannot import; write it into a module and import it from there"
)
PROGRAM = """
from fusynk import layer
from fusynk._core.importable import why_not_importable
def plain(): ...
class Outer:
    @layer
    def method(self): ...
    def __call__(self): ...
for function in plain, Outer().method, Outer, lambda: 1, len:
    print(why_not_importable(function))
print(why_not_importable(Outer()))
"""


@pytest.mark.parametrize("arguments", [["-c", PROGRAM], ["-"]], ids=["a command line", "standard input"])
def test_nothing_of_a_main_module_without_a_file_can_be_imported(arguments: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, *arguments], input=PROGRAM, cwd=ROOT, capture_output=True, text=True, check=True
    )

    of_object = f"is an object of the class 'Outer', which {WITHOUT_FILE}"
    assert ran.stdout.splitlines() == [WITHOUT_FILE] * 4 + ["", of_object]


def test_functions_of_a_script_can_be_imported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}", "utf-8")

    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines() == ["", "", "", LAMBDA, "", ""]


def test_nothing_is_imported_for_the_answer() -> None:
    lost = from_a_module_that_is_gone()
    lost.__module__ = "tests.programs.scale"
    loaded = sys.modules.pop("tests.programs.scale", None)
    try:
        before = set(sys.modules)
        assert "is not loaded" in why_not_importable(lost)
        assert set(sys.modules) == before
    finally:
        if loaded is not None:
            sys.modules["tests.programs.scale"] = loaded


def test_wrappers_in_a_circle_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("circle")
    monkeypatch.setitem(sys.modules, "circle", module)
    lost = from_a_module_that_is_gone()
    lost.__module__ = "circle"
    ring: Any = make_local()
    ring.__wrapped__ = ring
    monkeypatch.setattr(module, "lost", ring, raising=False)

    assert "cannot be imported as circle.lost" in why_not_importable(lost)

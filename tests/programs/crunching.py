"""What tests call in subprocesses: it must be found by import."""

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

from fusynk import compile_plan, current_step, layer

LOCK = threading.Lock()


def add(first: int, second: int = 0) -> int:
    return first + second


def logged(function: Callable[..., int]) -> Callable[..., int]:
    @wraps(function)
    def wrapper(*arguments: int) -> int:
        return function(*arguments) + 1000

    return wrapper


@layer
def double(number: int) -> int:
    return 2 * number


@layer
@logged
def double_logged(number: int) -> int:
    return 2 * number


@layer
@cache
def double_cached(number: int) -> int:
    return 2 * number


class Scale:
    """A service whose methods are units."""

    def __init__(self, factor: int, lock: object = None) -> None:
        self.factor = factor
        self.lock = lock

    def __call__(self, number: int) -> int:
        return self.factor * number

    @layer
    def scaled(self, number: int) -> int:
        return self.factor * number

    def plainly(self, number: int) -> int:
        return self.factor * number

    @layer
    @staticmethod
    def negated(number: int) -> int:
        return -number

    @layer
    @classmethod
    def of_class(cls, number: int) -> str:
        return f"{cls.__name__} {number}"


class Larger(Scale):
    """Inherits the units, and hides a method."""

    def plainly(self, number: int) -> int:
        return 1 + super().plainly(number)


five_more = partial(add, 5)
shadowed = add


def add_other(first: int) -> int:
    return first


hidden = add_other
globals()["add_other"] = add


def length(content: bytes) -> int:
    return len(content)


def same(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def about_step() -> tuple[str, str, int, str, bool]:
    step = current_step()
    return step.run_id, step.name, step.attempt, step.idempotency_key, step.cancelled


def has_step() -> bool:
    try:
        current_step()
    except LookupError:
        return False
    return True


def run_plan(number: int) -> int:
    return compile_plan(double, run_id="inner").run_sync(number=number).result


@layer
def fails_inside() -> None:
    raise ConnectionError("inside")


def run_failing_plan() -> None:
    compile_plan(fails_inside).run_sync()


def meet(own: str, other: str) -> int:
    """Come back when both have come, which takes two at once."""
    Path(own).touch()
    while not Path(other).exists():
        time.sleep(0.001)
    return os.getpid()


def linger(started: str, ended: str) -> None:
    """Tell the pid, sleep for less time than an idle subprocess has to end, and tell that this was not interrupted."""
    write_pid(started)
    time.sleep(0.7)
    Path(ended).touch()


def print_and_die() -> None:
    print("the last words")  # noqa: T201 - what is tested
    os._exit(1)


def spin(started: str, ended: str) -> None:
    """Tell the pid, and compute without end; the other path is never written."""
    write_pid(started)
    while True:
        pass


def write_pid(path: str) -> None:
    draft = Path(f"{path}.draft")
    draft.write_text(str(os.getpid()), "utf-8")
    draft.rename(path)


def print_everywhere() -> int:
    """Print in every way there is, more than a pipe holds; and ask for input."""
    print("by print")  # noqa: T201 - what is tested
    print("without an end", end="")  # noqa: T201
    os.write(1, b"by descriptor\n")
    subprocess.run([sys.executable, "-c", "print('by program')"], check=True)
    os.write(2, b"." * 200_000 + b"\n")
    return len(sys.stdin.read())


class Odd(Exception):
    """Cannot be made again from what it keeps."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


class Held(Exception):
    """Holds what cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Mute(Exception):
    """Cannot even be told."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise ValueError("no text")


def fail(kind: type[BaseException], *arguments: object) -> None:
    raise kind(*arguments)


def fail_with_notes() -> None:
    error = ValueError("noted")
    error.add_note("a note")
    error.code = 7  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    raise error from KeyError("behind it")


def fail_in_group() -> None:
    raise ExceptionGroup("two", [ValueError(1), TypeError(2)])


def give(kind: str) -> object:
    """Return what cannot be sent."""
    match kind:
        case "lock":
            return threading.Lock()
        case "lambda":
            return lambda: 1
        case "generator":
            return (number for number in range(3))
        case "coroutine":
            return asyncio.sleep(0)
        case _:
            return Unreadable()


class Unreadable:
    """Can be pickled, but not read."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


class Bomb:
    """Can be pickled, but not in the subprocess read."""

    def __reduce__(self) -> tuple[object, ...]:
        return fail, (OSError, "the argument")


def die(code: int) -> None:
    os._exit(code)


def die_by(number: int) -> None:
    os.kill(os.getpid(), number)


def die_while_fork_lives(path: str) -> None:
    """Leave a fork behind that holds whatever it inherited."""
    if os.fork() == 0:
        write_pid(path)
        time.sleep(600)
        os._exit(0)
    while not Path(path).exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def close_all() -> None:
    """Close file descriptors that belong to others."""
    os.closerange(0, 256)
    time.sleep(600)


def write_at_exit(path: str) -> None:
    atexit.register(Path(path).touch)


def stay_at_exit() -> int:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return os.getpid()


def loaded(module: str) -> bool:
    return module in sys.modules


def trace_of() -> tuple[int, int]:
    from opentelemetry import trace  # noqa: PLC0415 - to see whether it was loaded before

    context = trace.get_current_span().get_span_context()
    return context.trace_id, context.span_id


def interpreter() -> tuple[bool, bool, list[str]]:
    return threading.current_thread() is threading.main_thread(), sys.stdin.isatty(), sys.path

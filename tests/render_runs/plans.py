"""Plans whose runs are worth looking at, and their parts. All of them wait in virtual time."""

from typing import Any

import anyio

from fusynk import Batch, Graph, Plan, compile_plan, each, use, when

HOSTILE = (
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "carriage\rreturn",
    "tab\there",
    "\u202eright to left override",
    "שלום עולם",
    "مرحبا",
    "日本語の段階",
    "👩‍💻 developer",
    "❤️ love",
    "e\u0301te\u0301",
    "half a pair \ud800",
    "null\0byte",
    "[bold]markup[/bold] :smile:",
    '"quotes" \\ and </script>',
    "x" * 10_240,
    "plain",
)


class CardDeclined(Exception):
    """What the card's bank says."""


class HTTPError(Exception):
    """What a server says."""


def waiting(seconds: float, error: BaseException | None = None) -> Any:
    """An async function that waits, and then raises if it is given an error."""

    async def body() -> None:
        await anyio.sleep(seconds)
        if error is not None:
            raise error

    return body


def shop(on_error: Any = "abort") -> Plan[None, Any]:
    """Six steps: two failed attempts before one that succeeds, a failure, and what follows from it."""
    graph, calls = Graph("shop"), list[int]()

    @graph.layer
    async def check_inventory() -> int:
        await anyio.sleep(0.4)
        return 8

    @graph.layer(retries=3, retry_delay=0.2)
    async def validate_customer() -> bool:
        calls.append(1)
        await anyio.sleep(0.15)
        if len(calls) < 3:
            raise ConnectionError
        await anyio.sleep(0.3)
        return True

    @graph.layer
    async def reserve_inventory(left: int = use(check_inventory)) -> str:
        await anyio.sleep(0.95)
        return f"{left} left"

    @graph.layer(depends_on=when(validate_customer, bool), on_error=on_error)
    async def charge(reserved: str = use(reserve_inventory)) -> str:
        await anyio.sleep(0.35)
        raise CardDeclined(reserved)

    @graph.layer
    async def send_mail(receipt: str = use(charge)) -> None: ...

    graph.add_layer(waiting(1.2 if on_error != "abort" else 30), name="audit")
    return compile_plan(graph)


def films(items: int, *, failing: int = 29, concurrency: int = 8) -> Plan[None, Any]:
    """A fan-out between two steps; some of its items fail twice."""
    graph = Graph("films")

    @graph.layer
    async def all_ids() -> list[int]:
        await anyio.sleep(0.5)
        return list(range(items))

    @graph.layer.each(retries=1, retry_delay=0.1, on_error="continue")
    async def fetch(number: int = each(all_ids)) -> int:
        await anyio.sleep(0.05 + number % 7 * 0.03)
        if number % failing == 3:
            raise HTTPError
        return number

    @graph.layer
    async def store(films: Batch[int] = use(fetch)) -> None:
        await anyio.sleep(0.3)

    return compile_plan(graph, concurrency=concurrency)


def chain(length: int, *, slow: int = 1000) -> Plan[None, Any]:
    """Steps in a row, of which one in so many takes a tenth of a second."""
    graph = Graph("chain")
    for number in range(length):
        before = [f"step_{number - 1:05}"] if number else []
        graph.add_layer(waiting(0.0 if number % slow else 0.1), name=f"step_{number:05}", depends_on=before)
    return compile_plan(graph)


def named(names: tuple[str, ...], error: BaseException | None = None) -> Plan[None, Any]:
    """Steps of these names in a row. The last one fails if there is an error."""
    graph = Graph("named")
    for number, name in enumerate(names):
        last = error if number == len(names) - 1 else None
        graph.add_layer(waiting(1.0 + number, last), name=name, depends_on=[names[number - 1]] if number else [])
    return compile_plan(graph, on_error="continue")

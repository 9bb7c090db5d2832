"""A depot: functions, units and a graph that tests save into files and load from them."""

from collections.abc import Iterator
from functools import lru_cache, partial
from subprocess import run  # what a hostile file would like to reach through this module

from fusynk import Graph, Limit, backoff, compile_plan, each, layer, use, when

depot = Graph("depot")
calls = Limit("calls", concurrency=4, rate="40/10s")


class OutOfStock(Exception):
    """What some retry after."""

    class Forever(Exception):
        """A class inside a class."""


def is_some(count: int) -> bool:
    return count > 0


def waiting_time(attempt: int) -> float:
    return attempt / 4


def is_passing(error: Exception) -> bool:
    return isinstance(error, OutOfStock)


def nothing_instead(error: Exception) -> int:
    return 0


async def give_back(count: int) -> None: ...


def plain(count: int = 1, other: int = 2) -> int:
    return count * 10 + other


async def alone() -> int:
    return 7


def numbers() -> list[int]:
    return [1, 2, 3]


def opened() -> Iterator[int]:
    yield 5


@lru_cache
def remembered(count: int = 1) -> int:
    return count


class Shelf:
    """A class whose functions need no object."""

    @staticmethod
    def height(count: int = 1) -> int:
        return count + 1

    @classmethod
    def width(cls, count: int = 1) -> str:
        return cls.__name__ * count

    @layer
    @staticmethod
    def depth() -> int:
        return 3

    def weigh(self, count: int = 1) -> int:
        return count


@layer
async def outside() -> int:
    return 100


@layer(name="renamed")
async def written_otherwise() -> int:
    return 200


sized = layer(len, name="size")
nested = layer(compile_plan(outside), name="nested")


@depot.layer(retries=3, retry_delay=backoff(0.2, factor=3), retry_on=(ConnectionError, OutOfStock), limit=calls)
async def count(product: str, more: int = use(outside)) -> int:
    return len(product) + more


@depot.layer(depends_on=when(count, is_some), timeout=5.5, compensate=give_back)
async def reserve(counted: int = use(count)) -> list[int]:
    return [counted, 1]


@depot.layer.each(on_error="continue", tags=("slow", "paid"), retries=1, retry_delay=waiting_time, retry_on=is_passing)
async def pack(one: int = each(reserve)) -> int:
    return one * 2


added = depot.add_layer(
    plain, name="added", bind={"count": count, "other": "later"}, on_error=nothing_instead, run_in="inline"
)
group = depot.process("group", count, reserve, outside, mode="batched", size=3)


@depot.process(added, pack, mode="isolated", delay=0.5, description="Größe ✓")
async def shipped(boxes: object = use(pack), parts: object = use(group)) -> str:
    return f"{boxes} {parts}"


@depot.worker(every=60, heartbeat=2, priority=-1, depends_on=[group, "tests.depot:renamed", when("count", bool)])
def later(packed: list[int] = use("reserve", type=list)) -> int:
    return len(packed)


local = partial(plain, 4)
innocent = [run, Limit]

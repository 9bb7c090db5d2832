"""Accepted by both checkers without one error: resources, compensations, limits, OS processes and nested plans."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, assert_type

from fusynk import Batch, Graph, Layer, Limit, Plan, Run, compile_plan, each, layer, process, use, worker


@dataclass(frozen=True)
class Order:
    number: int


# Resources


@layer
async def database(path: str) -> AsyncIterator[sqlite3.Connection]:
    yield sqlite3.connect(path)


@layer(timeout=5, retries=2)
async def transaction(
    connection: sqlite3.Connection = use(database),
) -> AsyncGenerator[sqlite3.Cursor, BaseException | None]:
    failure = yield connection.cursor()
    if failure is None:
        connection.commit()


@layer
def folder() -> Generator[str, None, None]:
    yield "/tmp"  # noqa: S108 (nothing here runs)


@worker
async def session() -> AsyncIterator[bytes]:
    yield b""


@layer
async def names() -> list[str]:
    return ["a"]


@layer.each(limit=Limit("files", concurrency=3))
def opened(name: str = each(names)) -> Generator[int, None, None]:
    yield len(name)


@process(folder)
async def workspace(name: str = use(folder)) -> AsyncIterator[str]:
    yield name


@layer
async def insert(
    cursor: sqlite3.Cursor = use(transaction), where: str = use(folder), token: bytes = use(session)
) -> int:
    return len(where) + len(token) + cursor.rowcount


@layer
async def counted(sizes: Batch[int] = use(opened), name: str = use(workspace)) -> float:
    return sizes.success_rate + len(name)


graph = Graph("files")


# Compensations


def release(order: Order) -> None: ...


async def refund(order: Order) -> bool:
    return bool(order)


@layer(compensate=release)
async def reserve() -> Order:
    return Order(1)


class Shop:
    def undo(self, order: Order) -> None: ...

    @layer(compensate=undo)
    async def sell(self, number: int) -> Order:
        return Order(number)


@layer(compensate=refund, run_in="subprocess", timeout=3)
def charge(order: Order = use(reserve)) -> Order:
    return order


# Limits

api = Limit("api", concurrency=4, rate="40/10s")


@layer(limit=api, weight=2)
async def fetch() -> str:
    return ""


# Nested plans

plan = compile_plan(charge, concurrency=2, threads=1, processes=2)
assert_type(plan, Plan[None, Order])
nested = layer(plan, name="nested", retries=2)
assert_type(nested, Layer[..., Coroutine[Any, Any, Order], Order])
added = graph.add_layer(plan, name="added", bind={"order": reserve})
assert_type(added, Layer[..., Coroutine[Any, Any, Order], Order])


@layer
async def outer(order: Order = use(nested)) -> int:
    return order.number


async def run() -> None:
    done = await compile_plan(insert).run(path="x.db")
    assert_type(done, Run[int])
    assert_type(done[database], sqlite3.Connection)
    assert_type(done[transaction], sqlite3.Cursor)
    assert_type(done[folder], str)
    assert_type(done[session], bytes)
    assert_type(done[opened], Batch[int])
    assert_type(done[workspace], str)
    assert_type(done[nested], Order)
    assert_type(done.compensated, tuple[str, ...])
    compile_plan(insert).override(database.returns(sqlite3.connect("")), folder.returns("/var"))

"""The movie service of the batch sync: it must see what a client does wrong, or the sync's own checks mean nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from fusynk import Batch, Graph, Limit, Plan, compile_plan, each, use
from tests.examples.running import imported


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module."""
    with imported("batch_sync") as module:
        yield module


def fetching(example: Any, limit: Limit | None) -> Plan[Any, int]:
    """A plan that asks for every movie once, under another limit, or none."""
    graph = Graph("hasty")

    @graph.layer
    async def movie_ids(ids: list[int]) -> list[int]:
        return ids

    @graph.layer.each(limit=limit, on_error="continue")
    def fetch_movie(address: str, movie_id: int = each(movie_ids)) -> str:
        example.ask(address, f"/movies/{movie_id}")
        return "fetched"

    @graph.layer
    async def count(fetched: Batch[str] = use(fetch_movie)) -> int:
        return len(fetched)

    return compile_plan(count)


@pytest.mark.parametrize("rate", [None, "30/s", "40/2s"])
async def test_a_client_that_is_too_fast_is_told_so_and_remembered(example: Any, rate: str | None) -> None:
    limit = Limit("hasty", rate=rate) if rate else None
    service = example.MovieService(40, seed=1, allowed=20)
    with example.MovieServer(service) as server:
        run = await fetching(example, limit).run(ids=list(service.films), address=server.address)
    assert len(service.records.too_fast) > 0
    told = [request for request in service.records.requests if request.answer.body == b"too fast"]
    assert len(told) == len(service.records.too_fast)
    assert all((request.answer.status, request.answer.retry_after) == (429, 1) for request in told)
    assert service.records.busiest(0.85) > 20
    refused = [error for error in run.failures.values() if str(error) == "429 Too Many Requests"]
    assert len(refused) >= len(told)


async def test_a_client_that_keeps_to_the_rate_is_not(example: Any) -> None:
    service = example.MovieService(40, seed=1, allowed=20)
    with example.MovieServer(service) as server:
        await fetching(example, Limit("patient", rate="20/s")).run(ids=list(service.films), address=server.address)
    assert len(service.records.requests) == 40
    assert service.records.too_fast == []


# Its judgement, without a network


@pytest.fixture
def service(example: Any) -> Any:
    """A service that nobody has asked yet."""
    return example.MovieService(10, seed=1)


def ask(service: Any, path: str, now: float) -> Any:
    answer = service.begin(path, now)
    service.end(path, now, answer, now)
    return answer


def test_the_service_takes_its_rate_in_any_window_and_no_request_more(service: Any, example: Any) -> None:
    allowed, window = example.ALLOWED, example.WINDOW
    for number in range(3 * allowed):
        assert ask(service, "/movies?page=1", number * 1.01 * window / allowed).body != b"too fast"
    begun = 100.0
    assert [ask(service, "/movies?page=1", begun).body for _ in range(allowed)].count(b"too fast") == 0
    assert ask(service, "/movies?page=1", begun + 0.99 * window).body == b"too fast"
    assert service.records.too_fast == [begun + 0.99 * window]
    assert ask(service, "/movies?page=1", begun + 1.01 * window).body != b"too fast"
    assert service.records.busiest(window) == allowed + 1


def test_the_service_sees_who_comes_back_too_soon_or_not_at_all(service: Any, example: Any) -> None:
    troubled = (
        path for path in map("/movies/{}".format, range(1000, 9999)) if service.weather(path).failures == (429,)
    )
    patient, hasty, gone = (next(troubled) for _ in range(3))
    for path, now in ((patient, 0.0), (patient, 1.0), (hasty, 0.0), (hasty, 0.99), (gone, 0.0)):
        ask(service, path, now)
    assert service.records.too_soon() == [hasty]
    assert service.records.given_up(2) == [gone]
    assert service.records.given_up(1) == []


def test_the_service_counts_the_requests_that_wait_together(service: Any) -> None:
    answers = [service.begin("/movies?page=1", 0.0) for _ in range(3)]
    for answer in answers:
        service.end("/movies?page=1", 0.0, answer, 0.0)
    ask(service, "/movies?page=1", 0.0)
    assert service.records.most_at_once == 3


def test_the_same_seed_is_the_same_service_and_another_is_not(example: Any) -> None:
    one, same, other = (example.MovieService(50, seed) for seed in (1, 1, 2))
    for service in (one, same, other):
        service.publish()
    assert (one.films, one.fates) == (same.films, same.fates)
    assert one.films != other.films
    assert one.weather("/movies?page=1") == same.weather("/movies?page=1")

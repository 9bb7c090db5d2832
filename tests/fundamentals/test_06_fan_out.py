"""Fan-out: `@layer.each` runs its function once for each item; a batch tells which items succeeded and which failed."""

from collections.abc import Sequence

import anyio
import pytest

from fusynk import Batch, compile_plan, current_step, each, layer, use
from fusynk.testing import simulate

TITLES = {1: "Metropolis", 2: "M", 4: "Nosferatu"}


@layer
async def film_ids(wanted: Sequence[int]) -> list[int]:
    return list(wanted)


@layer.each(on_error="continue")
async def fetch_film(film_id: int = each(film_ids)) -> str:
    return TITLES[film_id]


@layer
async def store(films: Batch[str] = use(fetch_film)) -> float:
    return films.success_rate


def test_a_batch_holds_the_artifacts_in_the_order_of_the_items() -> None:
    run = simulate(compile_plan(fetch_film), {"wanted": [4, 1]}).run

    assert list(run.result) == ["Nosferatu", "Metropolis"]
    assert run.ok


def test_items_that_fail_are_kept_by_their_index() -> None:
    run = simulate(compile_plan(store), {"wanted": [1, 3, 2]}).run

    films = run[fetch_film]
    assert list(films) == ["Metropolis", "M"]
    assert dict(films.succeeded) == {0: "Metropolis", 2: "M"}
    assert isinstance(films.failed[1], KeyError)
    assert (films.total, len(films)) == (3, 2)
    assert run.result == pytest.approx(2 / 3)
    assert not run.ok
    assert list(run.failures) == ["fetch_film[1]"]


def test_without_continue_a_failed_item_ends_the_run_with_its_own_error() -> None:
    @layer.each
    async def strict(film_id: int = each(film_ids)) -> str:
        return TITLES[film_id]

    trace = simulate(compile_plan(strict), {"wanted": [1, 3]})

    assert isinstance(trace.error, KeyError)


def test_no_items_make_an_empty_batch() -> None:
    run = simulate(compile_plan(store), {"wanted": []}).run

    assert run[fetch_film].total == 0
    assert run.result == 1.0


def test_every_item_has_attempts_and_a_name_of_its_own() -> None:
    @layer.each(retries=1, on_error="continue")
    async def named(film_id: int = each(film_ids)) -> str:
        if film_id == 3 and current_step().attempt == 1:
            raise ConnectionError
        return current_step().name

    run = simulate(compile_plan(named), {"wanted": [1, 3]}).run

    assert list(run.result) == ["named[0]", "named[1]"]
    assert len(run.attempts("named[1]")) == 2
    assert run["named[1]"] == "named[1]"


def test_items_share_the_slots_of_the_run() -> None:
    @layer.each
    async def slow(film_id: int = each(film_ids)) -> int:
        await anyio.sleep(1)
        return film_id

    trace = simulate(compile_plan(slow, concurrency=4), {"wanted": range(10)})

    assert trace.seconds == 3
    assert list(trace.result) == list(range(10))


def test_a_fan_out_of_a_fan_out_goes_item_by_item() -> None:
    @layer.each(on_error="continue")
    async def shout(title: str = each(fetch_film)) -> str:
        return title.upper()

    batch = simulate(compile_plan(shout), {"wanted": [1, 3, 2]}).result

    assert dict(batch.succeeded) == {0: "METROPOLIS", 2: "M"}


def test_other_parameters_are_the_same_for_every_item() -> None:
    @layer
    async def prefix() -> str:
        return "film"

    @layer.each
    async def label(film_id: int = each(film_ids), word: str = use(prefix), mark: str = "#") -> str:
        return f"{word} {mark}{film_id}"

    assert list(simulate(compile_plan(label), {"wanted": [7], "mark": "no. "}).result) == ["film no. 7"]

"""Conditions: an edge may ask about the artifact; a step whose condition does not hold is skipped, not failed."""

from typing import Any

import pytest

from fusynk import Skipped, compile_plan, layer, use, when
from fusynk.testing import simulate


@layer
async def count_pages(document: str) -> int:
    return len(document)


@layer
async def read_fast(pages: int = use(count_pages, when=lambda pages: pages < 10)) -> str:
    return f"read {pages} pages"


@layer
async def read_slowly(pages: int = use(count_pages, when=lambda pages: pages >= 10)) -> str:
    return f"studied {pages} pages"


@layer
async def summary(
    fast: str | None = use(read_fast, default=None), slow: str | None = use(read_slowly, default=None)
) -> str:
    return fast or slow or "nothing"


def test_branches_join_in_one_place() -> None:
    plan = compile_plan(summary)

    short, long = simulate(plan, {"document": "abc"}), simulate(plan, {"document": "abc" * 9})

    assert short.result == "read 3 pages"
    assert long.result == "studied 27 pages"


def test_a_branch_that_was_not_taken_is_skipped_and_the_run_is_fine() -> None:
    run = simulate(compile_plan(summary), {"document": "abc"}).run

    assert run.outcome(read_slowly) == Skipped(because="count_pages", cause="condition")
    assert run.ok


def test_when_puts_a_condition_on_an_order() -> None:
    @layer(depends_on=when(count_pages, lambda pages: pages > 2))
    async def bind_it() -> str:
        return "bound"

    plan = compile_plan(bind_it)

    assert simulate(plan, {"document": "abc"}).result == "bound"
    assert isinstance(simulate(plan, {"document": "a"}).run.outcome(bind_it), Skipped)


def test_what_follows_a_skipped_branch_is_skipped_too() -> None:
    @layer(depends_on=read_slowly)
    async def take_notes() -> None: ...

    run = simulate(compile_plan(take_notes), {"document": "abc"}).run

    assert run.outcome(take_notes) == Skipped(because="count_pages", cause="condition")


def test_an_order_does_not_mind_a_failure_that_was_told_to_continue() -> None:
    @layer(on_error="continue")
    async def notify() -> None:
        raise ConnectionError

    @layer(depends_on=notify)
    async def archive() -> str:
        return "archived"

    run = simulate(compile_plan(archive)).run

    assert run.result == "archived"
    assert list(run.failures) == ["notify"]


def test_a_default_takes_the_place_of_an_artifact_that_was_refused() -> None:
    @layer
    async def pages_or_none(pages: int = use(count_pages, default=0, when=lambda pages: pages > 100)) -> int:
        return pages

    assert simulate(compile_plan(pages_or_none), {"document": "abc"}).result == 0


def test_a_condition_that_raises_fails_the_step_that_declared_it() -> None:
    @layer
    async def picky(pages: int = use(count_pages, when=lambda pages: 1 / (pages - 3) > 0)) -> int:
        return pages

    trace = simulate(compile_plan(picky), {"document": "abc"})

    assert isinstance(trace.error, ZeroDivisionError)
    assert list(trace.run.failures) == ["picky"]


def test_a_condition_is_a_plain_function() -> None:
    async def later(pages: int) -> bool:
        return pages > 1

    unchecked: Any = later

    with pytest.raises(TypeError, match=r"always counts? as true"):
        when(count_pages, unchecked)

"""How large artifacts may be: a large one is told of, one that is too large fails its step and is not tried again."""

import pytest

from fusynk import Graph, compile_plan
from fusynk.errors import Unstorable
from fusynk.journals import Codec, MemoryJournal, Sizes
from tests.observing import heard


def text_of(length: int, calls: list[int]) -> Graph:
    """A graph of one step that returns a text of that length."""
    graph = Graph("sizes")

    @graph.layer(retries=3)
    async def text() -> str:
        calls.append(length)
        return "x" * length

    return graph


async def test_an_artifact_that_is_too_large_fails_its_step_once() -> None:
    calls: list[int] = []
    plan = compile_plan(text_of(2_000_000, calls)).options(journal=MemoryJournal(), run_id="order")

    with pytest.raises(Unstorable) as caught:
        _ = await plan.run()

    assert (calls, caught.value.step, caught.value.type_name) == ([2_000_000], "text", "str")
    assert caught.value.size == 2_000_002
    assert "'text' returned a str of 2,000,002 bytes, and the journal keeps at most 1,048,576" in str(caught.value)


async def test_a_large_artifact_is_told_of_by_its_size_and_not_by_its_value() -> None:
    plan = compile_plan(text_of(300_000, [])).options(journal=MemoryJournal(), run_id="order")

    with heard() as records:
        assert (await plan.run()).ok

    told = [record for record in records if record["level"].name == "WARNING"]
    assert [record["message"] for record in told] == ["An artifact of 300,002 bytes is large for a journal"]
    assert [record["extra"]["layer"] for record in told] == ["text"]


async def test_sizes_may_be_others() -> None:
    calls: list[int] = []
    journal = MemoryJournal(codec=Codec(sizes=Sizes(most=10, warn_above=5)))
    with pytest.raises(Unstorable, match="keeps at most 10"):
        _ = await compile_plan(text_of(20, calls)).options(journal=journal).run()
    assert calls == [20]

"""The model itself, against cases worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from tests.model.reference import Case, Edge, Model, Pack, Step


def starts(*steps: Step, concurrency: int = 1, discipline: Any = "fifo") -> list[tuple[str, int, float, float]]:
    model = Model(Case(steps, concurrency, discipline)).run()
    return [(attempt.step, attempt.number, attempt.started, attempt.ended) for attempt in model.attempts]


def endings(*steps: Step, concurrency: int = 1) -> list[tuple[Any, ...]]:
    model = Model(Case(steps, concurrency)).run()
    return [model.endings[index] for index in range(len(steps))]


FAILED = Step(failures=9, on_error="continue")
REFUSED = Step((Edge(0, test="odd"),))  # 2 artifacts of step 0 are even


def test_a_dependent_starts_when_its_own_predecessor_ends_and_waits_for_no_level() -> None:
    # 0 and 1 start together; 2 needs only 0, which ends at 1 while 1 runs until 5.
    steps = Step(), Step(durations=(5.0,)), Step((Edge(0),), durations=(0.5,)), Step((Edge(1), Edge(2)))
    assert starts(*steps, concurrency=2) == [("s0", 1, 0, 1), ("s1", 1, 0, 5), ("s2", 1, 1, 1.5), ("s3", 1, 5, 6)]


def test_the_free_slot_goes_to_the_larger_priority() -> None:
    assert [row[0] for row in starts(Step(), Step(priority=2), Step(priority=1))] == ["s1", "s2", "s0"]


@pytest.mark.parametrize(("discipline", "order"), [("fifo", ["s0", "s1", "s2"]), ("lifo", ["s1", "s0", "s2"])])
def test_fifo_takes_the_first_that_became_ready_and_lifo_the_last(discipline: str, order: list[str]) -> None:
    assert [row[0] for row in starts(Step(), Step(), Step((Edge(0),)), discipline=discipline)] == order


def test_lifo_takes_a_dependent_before_what_has_been_ready_for_longer() -> None:
    steps = Step(), Step((Edge(0),), priority=1), Step((Edge(0),)), Step((Edge(1),))
    assert [row[0] for row in starts(*steps, discipline="lifo")] == ["s0", "s1", "s3", "s2"]
    assert [row[0] for row in starts(*steps)] == ["s0", "s1", "s2", "s3"]


def test_a_retry_delay_holds_no_slot_and_the_retry_queues_behind_those_that_became_ready_before() -> None:
    # s0 fails at 1 and is ready again at 1.5, while s1 runs from 1 to 2 and s2 has been ready since 0.
    first = Step(failures=1, retries=1, retry_delay=0.5)
    assert starts(first, Step(), Step()) == [("s0", 1, 0, 1), ("s1", 1, 1, 2), ("s2", 1, 2, 3), ("s0", 2, 3, 4)]


def test_the_last_failure_is_the_one_that_is_kept() -> None:
    assert endings(Step(failures=9, retries=2, on_error="continue")) == [("failed", ("raised", "s0", "3"))]


def test_a_timeout_ends_the_attempt_and_counts_as_its_failure() -> None:
    step = Step(durations=(9.0, 1.0), timeout=2.0, retries=1, retry_delay=3.0)
    assert starts(step) == [("s0", 1, 0, 2), ("s0", 2, 5, 6)]
    assert endings(step) == [("succeeded", 4)]  # twice the number of the attempt


def test_an_abort_cuts_live_bodies_short_and_starts_nothing_more() -> None:
    steps = Step(failures=9), Step(durations=(5.0,)), Step(), Step(durations=(0.5,))
    model = Model(Case(steps, concurrency=2)).run()
    assert [(a.step, a.started, a.ended, a.error) for a in model.attempts] == [
        ("s0", 0, 1, ("raised", "s0", "1")),
        ("s1", 0, 1, ("cancelled",)),
    ]
    assert model.raised == ("raised", "s0", "1")
    assert [model.endings[i][0] for i in range(4)] == ["failed", "cancelled", "cancelled", "cancelled"]


@pytest.mark.parametrize(
    ("edge", "after_failure", "after_condition"),
    [
        (Edge(1), ("skipped", "s1", "failure"), ("skipped", "s0", "condition")),
        (Edge(1, default=5), "runs", "runs"),
        (Edge(1, test="even"), ("skipped", "s1", "failure"), ("skipped", "s0", "condition")),
        (Edge(1, test="raise"), ("skipped", "s1", "failure"), ("skipped", "s0", "condition")),
        (Edge(1, test="even", default=5), "runs", "runs"),
        (Edge(1, "outcome"), "runs", "runs"),
        (Edge(1, "order"), "runs", ("skipped", "s0", "condition")),
        (Edge(1, "order", "even"), ("skipped", "s1", "failure"), ("skipped", "s0", "condition")),
    ],
)
def test_each_kind_of_edge_passes_on_a_failure_and_a_skip_as_the_table_says(
    edge: Edge, after_failure: Any, after_condition: Any
) -> None:
    for predecessor, expected in ((FAILED, after_failure), (REFUSED, after_condition)):
        ending = endings(Step(), predecessor, Step((edge,)))[2]
        assert (ending if ending[0] == "skipped" else "runs") == expected


@pytest.mark.parametrize(("kind", "runs"), [("use", False), ("order", True)])
def test_a_skip_that_stems_from_a_failure_holds_data_back_but_not_order(kind: Any, runs: bool) -> None:
    # 1 is skipped because 0 failed; so are those behind it, except over an order edge.
    ending = endings(FAILED, Step((Edge(0),)), Step((Edge(1, kind),)))[2]
    assert ending[:2] == (("succeeded", 202) if runs else ("skipped", "s0"))


def test_a_false_condition_passes_the_default_where_there_is_one() -> None:
    model = Model(Case((Step(), Step((Edge(0, test="odd", default=7), Edge(0, test="even")))))).run()
    assert model.attempts[1].args == (7, 2)


def test_the_first_closed_edge_in_declared_order_names_the_skip() -> None:
    assert endings(Step(), FAILED, Step((Edge(1), Edge(0, test="odd"))))[2] == ("skipped", "s1", "failure")
    assert endings(Step(), FAILED, Step((Edge(0, test="odd"), Edge(1))))[2] == ("skipped", "s0", "condition")


def test_a_raising_predicate_fails_the_step_that_declared_it() -> None:
    assert endings(Step(), Step((Edge(0, test="raise"),), on_error="continue"))[1] == ("failed", ("refused", "s1", "0"))


def test_recovering_makes_the_step_succeed() -> None:
    assert endings(Step(failures=9, on_error="recover"), Step((Edge(0),)))[0] == ("succeeded", -1)


def test_items_run_in_their_order_and_the_batch_holds_those_that_failed() -> None:
    steps = Step(items=3), Step((Edge(0, "each"),), failures=9, on_error="continue"), Step((Edge(1),))
    model = Model(Case(steps, concurrency=2)).run()
    assert [attempt.step for attempt in model.attempts] == ["s0", "s1[0]", "s1[1]", "s1[2]", "s2"]
    pack = Pack(((0, 808), (2, 810)), ((1, ("raised", "s1[1]", "1")),))
    assert model.endings[1] == ("succeeded", pack)
    assert model.attempts[-1].args == (pack,)
    assert not model.ok


def test_a_failing_item_aborts_by_default_and_no_items_are_an_empty_batch() -> None:
    spread = Step((Edge(0, "each"),), failures=9)
    assert endings(Step(items=3), spread)[1] == ("failed", ("raised", "s1[1]", "1"))
    assert endings(Step(items=0), spread, Step((Edge(1),)))[1:] == [("succeeded", Pack((), ())), ("succeeded", 202)]


def test_a_chained_item_starts_when_its_own_source_ends_and_inherits_its_failure() -> None:
    first = Step((Edge(0, "each"),), failures=1, retries=1, retry_delay=4.0, on_error="continue")
    rows = starts(Step(items=2), first, Step((Edge(1, "each"),), durations=(0.5,)), concurrency=2)
    assert rows == [
        ("s0", 1, 0, 1),
        ("s1[0]", 1, 1, 2),
        ("s1[1]", 1, 1, 2),
        ("s2[0]", 1, 2, 2.5),
        ("s1[1]", 2, 6, 7),
        ("s2[1]", 1, 7, 7.5),
    ]
    lost = ("raised", "s1[1]", "1")
    model = Model(Case((Step(items=2), replace(first, retries=0), Step((Edge(1, "each"),))))).run()
    assert model.endings[2] == ("succeeded", Pack(((0, 1608),), ((1, lost),)))
    assert model.lost_items == {"s1[1]": lost}


def test_an_item_that_failed_before_an_abort_stays_known_though_its_step_is_cancelled() -> None:
    spread = Step((Edge(0, "each"),), failures=9, durations=(0.5,), on_error="continue")
    model = Model(Case((Step(items=3), spread, Step(failures=9, durations=(2.25,))), 2)).run()
    assert model.endings[1] == ("cancelled", "abort")
    assert model.lost_items == {"s1[1]": ("raised", "s1[1]", "1")}


def test_the_model_says_when_two_orders_are_right() -> None:
    assert Model(Case((Step(), Step()), 2)).run().tied
    assert Model(Case((Step(durations=(0.0,)), Step()), 2)).run().tied
    assert not Model(Case((Step(), Step(durations=(2.0,))), 2)).run().tied

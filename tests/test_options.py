"""Options: of units and of plans; what each may be, what inherits what, and that a plan never changes."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError
from functools import partial
from itertools import product
from typing import Any

import anyio
import pytest

from fusynk import (
    LayerOptions,
    Plan,
    PlanOptions,
    WorkerOptions,
    backoff,
    compile_plan,
    current_step,
    layer,
    process,
    use,
    worker,
)
from fusynk.errors import DeadlineExceeded, InvalidOption, InvalidPlan, LayerTimeout, UnknownOption
from fusynk.testing import simulate
from tests import loose

INFINITY, NOT_A_NUMBER = float("inf"), float("nan")


async def step(number: int = 1) -> int:
    return number


@layer
async def one() -> int:
    return 1


def takes_nothing() -> float:
    return 1.0


def takes_two(error: object, more: object) -> float:
    return 1.0


def takes_three(one: object, two: object, three: object) -> float:
    return 1.0


DECORATORS: Mapping[str, Callable[..., Any]] = {
    "@layer": loose.layer,
    "@layer.each": loose.layer.each,
    "@worker": loose.worker,
    "@process": partial(loose.process, one),
}

NO_COUNT = [-1, 1.5, True, "3", None]
NO_SECONDS = [-1, -0.5, INFINITY, NOT_A_NUMBER, True, "1"]
WRONG_FOR_BOTH: Mapping[str, list[object]] = {
    "retries": [*NO_COUNT, 1001],
    "retry_delay": [*NO_SECONDS, None, (1, 2)],
    "timeout": [*NO_SECONDS, 0],
    "on_error": ["ignore", "", 3, None, ValueError()],
}
WRONG_FOR_UNITS: Mapping[str, list[object]] = {
    **WRONG_FOR_BOTH,
    "name": ["", 3, b"x"],
    "description": [3, None],
    "priority": [1.5, "high", True, None],
    "retry_on": ["OSError", 3, None, (OSError, "x"), [OSError]],
    "run_in": ["process", "", None, 1],
    "abandon_on_timeout": [1, "yes", None],
    "tags": ["slow", [1], 3, None, b"slow", {"slow": True}],
    "compensate": ["release", 3, lambda: None],
    "limit": ["tmdb"],
    "weight": [2, 0],
}
WRONG_FOR_WORKERS: Mapping[str, Sequence[object]] = {
    "every": [*NO_SECONDS, 0],
    "jitter": NO_SECONDS,
    "cron": ["", "  ", 3, "* * * *", "@daily"],
    "timezone": [3, b"UTC"],
    "max_runs": [0, -1, 1.5, True, "3"],
    "heartbeat": [*NO_SECONDS, 0],
}
WRONG_FOR_PLANS: Mapping[str, list[object]] = {
    **WRONG_FOR_BOTH,
    "concurrency": [0, *NO_COUNT],
    "threads": [0, *NO_COUNT],
    "processes": [0, *NO_COUNT],
    "discipline": ["random", "", None, 1],
    "deadline": [*NO_SECONDS, 0],
    "run_id": ["", 3, b"x"],
    "seed": [1.5, b"x", []],
    "grace": [*NO_SECONDS, 0, None],
    "executor": [3, "threads", b"threads"],
}


def cases(wrong: Mapping[str, Sequence[object]]) -> list[Any]:
    return [
        pytest.param(option, value, id=f"{option}={value!r}" if not callable(value) else f"{option}=function")
        for option, values in wrong.items()
        for value in values
    ]


class TestOfUnits:
    @pytest.mark.parametrize("decorator", DECORATORS)
    @pytest.mark.parametrize(("option", "value"), cases(WRONG_FOR_UNITS))
    def test_a_wrong_value_is_refused_where_it_is_written(self, decorator: str, option: str, value: object) -> None:
        with pytest.raises(InvalidOption) as caught:
            DECORATORS[decorator](**{option: value})(step)

        said = str(caught.value)
        assert decorator in said
        assert option in said

    @pytest.mark.parametrize(("option", "value"), cases(WRONG_FOR_WORKERS))
    def test_a_wrong_schedule_is_refused(self, option: str, value: object) -> None:
        with pytest.raises(InvalidOption, match=rf"@worker\({option}="):
            loose.worker(**{option: value})

    @pytest.mark.parametrize("decorator", DECORATORS)
    def test_an_unknown_option_is_a_type_error_with_the_nearest_name(self, decorator: str) -> None:
        with pytest.raises(UnknownOption) as caught:
            DECORATORS[decorator](retrys=3)

        assert str(caught.value) == f"{decorator} has no option 'retrys'. Did you mean 'retries'?"
        assert isinstance(caught.value, TypeError)

    def test_where_no_name_is_near_all_are_listed(self) -> None:
        with pytest.raises(UnknownOption) as caught:
            loose.layer(zzz=3)

        for option in LayerOptions.__annotations__:
            assert option in str(caught.value)

    @pytest.mark.parametrize("option", ["every", "jitter", "cron", "timezone", "max_runs", "heartbeat"])
    def test_a_layer_has_no_schedule(self, option: str) -> None:
        with pytest.raises(UnknownOption, match=f"@layer has no option {option!r}"):
            loose.layer(**{option: 1})

    def test_right_values_are_taken(self) -> None:
        declared = layer(
            name="full",
            description="does it",
            depends_on=(),
            priority=-3,
            retries=0,
            retry_delay=0,
            retry_on=(OSError, KeyError),
            timeout=0.5,
            on_error=lambda error: -1,
            run_in="inline",
            abandon_on_timeout=True,
            tags=["a", "b"],
        )(step)
        scheduled = worker(every=0.5, jitter=0.5, max_runs=1, heartbeat=2)(one.__wrapped__)
        nightly = worker(cron="0 4 * * *", timezone="Europe/Berlin")(one.__wrapped__)

        options = declared.unit.options
        assert (declared.unit.name, options.priority, options.tags) == ("full", -3, ("a", "b"))
        assert (scheduled.unit.options.every, scheduled.unit.options.max_runs) == (0.5, 1)
        assert (scheduled.unit.options.jitter, scheduled.unit.options.cron) == (0.5, None)
        assert (nightly.unit.options.cron, nightly.unit.options.timezone) == ("0 4 * * *", "Europe/Berlin")

    @pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
    def test_a_wrong_size_of_a_batch_is_refused(self, size: object) -> None:
        with pytest.raises(InvalidOption, match=r"@process\(size="):
            loose.process(one, mode="batched", size=size)

    @pytest.mark.parametrize("delay", NO_SECONDS)
    def test_a_wrong_delay_is_refused(self, delay: object) -> None:
        with pytest.raises(InvalidOption, match=r"@process\(delay="):
            loose.process(one, mode="isolated", delay=delay)

    @pytest.mark.parametrize("mode", ["serial", "", None, 3])
    def test_an_unknown_mode_is_refused(self, mode: object) -> None:
        with pytest.raises(InvalidOption, match=r'@process\(mode=.*"parallel", "sequential", "batched" or "isolated"'):
            loose.process(one, mode=mode)

    def test_a_process_is_named_once(self) -> None:
        with pytest.raises(InvalidOption, match="name"):
            loose.process("first", one, name="second")

    def test_a_thread_is_no_place_for_a_coroutine_function(self) -> None:
        with pytest.raises(TypeError, match=r'@layer\(run_in="thread"\).*coroutine function'):
            layer(run_in="thread")(step)

    @pytest.mark.parametrize(
        ("option", "function"),
        [
            *product(["on_error", "retry_on"], [takes_nothing, takes_two]),
            *product(["retry_delay", "compensate"], [takes_nothing, takes_three]),
        ],
    )
    def test_a_function_of_the_wrong_arity_is_refused(self, option: str, function: object) -> None:
        with pytest.raises(InvalidOption, match=option):
            loose.layer(**{option: function})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"base": -1},
            {"base": INFINITY},
            {"base": "1"},
            {"base": True},
            {"base": 1, "jitter": "no"},
            {"base": 1, "factor": 0.5},
            {"base": 1, "max": NOT_A_NUMBER},
        ],
        ids=str,
    )
    def test_a_wrong_backoff_is_refused_when_it_is_made(self, wrong: Mapping[str, Any]) -> None:
        with pytest.raises(InvalidOption, match=r"backoff\("):
            backoff(**wrong)

    def test_a_backoff_without_jitter_grows_to_its_maximum(self) -> None:
        def never() -> float:
            raise AssertionError

        delays = backoff(0.5, factor=3, max=10, jitter=False)

        assert [delays.delay(attempt, never) for attempt in (1, 2, 3, 4, 5000)] == [0.5, 1.5, 4.5, 10, 10]

    def test_a_backoff_with_jitter_stays_below_that(self) -> None:
        delays = backoff(0.5, factor=3, max=10)

        assert [delays.delay(attempt, lambda: 0.5) for attempt in (1, 2, 3, 4)] == [0.25, 0.75, 2.25, 5]

    def test_the_keywords_are_those_of_the_documentation(self) -> None:
        assert set(LayerOptions.__annotations__) == {
            *("name", "description", "depends_on", "priority", "retries", "retry_delay", "retry_on", "timeout"),
            *("on_error", "compensate", "limit", "weight", "run_in", "abandon_on_timeout", "tags"),
        }
        worker_only = {"every", "jitter", "cron", "timezone", "max_runs", "heartbeat"}
        assert set(inspect.get_annotations(WorkerOptions)) >= worker_only

    def test_what_is_listed_is_copied(self) -> None:
        dependencies, tags = [one], ["slow"]
        after = layer(depends_on=dependencies, tags=tags)(step)

        dependencies.clear()
        tags.append("later")

        assert compile_plan(after).order == ("one", "step")
        assert after.unit.options.tags == ("slow",)


class TestOfPlans:
    @pytest.mark.parametrize(("option", "value"), cases(WRONG_FOR_PLANS))
    def test_a_wrong_value_is_refused_by_whoever_was_called(self, option: str, value: object) -> None:
        plan: Any = compile_plan(one)
        if value is None and option in {"timeout", "deadline", "run_id", "seed", "executor"}:
            return

        for caller, call in (("compile_plan", partial(loose.compile_plan, one)), ("options", plan.options)):
            with pytest.raises(InvalidOption) as caught:
                call(**{option: value})
            assert option in str(caught.value)
            assert caller in str(caught.value)

    def test_an_unknown_option_is_a_type_error_with_the_nearest_name(self) -> None:
        plan: Any = compile_plan(one)

        with pytest.raises(UnknownOption, match=r"compile_plan\(\) has no option 'concurency'. Did you mean 'concurr"):
            loose.compile_plan(one, concurency=3)
        with pytest.raises(UnknownOption, match=r"Plan.options\(\) has no option 'threds'. Did you mean 'threads'"):
            plan.options(threds=3)
        with pytest.raises(TypeError, match=r"no option 'priority'"):
            plan.options(priority=3)

    def test_defaults(self) -> None:
        settings = compile_plan(one).settings

        assert (settings.concurrency, settings.threads, settings.discipline, settings.grace) == (32, 8, "fifo", 5.0)
        assert (settings.retries, settings.retry_delay, settings.timeout, settings.deadline) == (0, 0.0, None, None)
        assert (settings.on_error, settings.run_id, settings.seed) == ("abort", None, None)

    def test_compile_and_options_take_the_same_keywords(self) -> None:
        given: PlanOptions = {
            "concurrency": 2,
            "threads": 3,
            "discipline": "lifo",
            "deadline": 9.0,
            "retries": 1,
            "retry_delay": backoff(0.1, factor=3, max=1),
            "timeout": 4.0,
            "on_error": "continue",
            "run_id": "order-42",
            "seed": "seed",
            "grace": 0.5,
        }

        assert compile_plan(one, **given).settings == compile_plan(one).options(**given).settings

    def test_options_make_a_new_plan_and_leave_the_old_one(self) -> None:
        plan = compile_plan(one, concurrency=4)

        other = plan.options(retries=2)

        assert other is not plan
        assert (plan.settings.retries, other.settings.retries) == (0, 2)
        assert other.settings.concurrency == 4
        assert other.options(concurrency=1).settings.retries == 2

    def test_none_takes_a_timeout_and_a_deadline_back(self) -> None:
        plan = compile_plan(one, timeout=1, deadline=2)

        assert plan.options(timeout=None, deadline=None).settings == compile_plan(one).settings

    def test_a_plan_cannot_be_changed(self) -> None:
        plan: Any = compile_plan(loose.layer(step, name="changeless"))

        for change in ("order", "inputs", "levels", "concurrency", "settings", "_program"):
            with pytest.raises(AttributeError):
                setattr(plan, change, ())
        with pytest.raises(AttributeError):
            del plan._program
        with pytest.raises(TypeError):
            plan.inputs["more"] = 1
        with pytest.raises(FrozenInstanceError):
            plan.inputs["number"].default = 2
        with pytest.raises(FrozenInstanceError):
            plan.settings.concurrency = 1

    def test_a_copy_of_a_plan_is_the_plan_itself(self) -> None:
        plan = compile_plan(one)

        assert copy.copy(plan).order == plan.order
        assert copy.deepcopy(plan).order == plan.order

    def test_a_plan_says_in_a_line_what_it_is(self) -> None:
        assert repr(compile_plan(one)) == "<Plan of 1 steps to one>"
        assert isinstance(compile_plan(one), Plan)


class TestInheritance:
    def test_what_a_unit_leaves_out_is_the_plans(self) -> None:
        attempts: list[str] = []

        @layer
        async def inherits() -> None:
            attempts.append("inherits")
            raise ConnectionError

        @layer(retries=0)
        async def own() -> None:
            attempts.append("own")
            raise ConnectionError

        plan = compile_plan(inherits, own, retries=2, on_error="continue", concurrency=1)
        run = simulate(plan).run

        assert attempts.count("inherits") == 3
        assert attempts.count("own") == 1
        assert run.status == "failed"

    def test_a_timeout_of_none_takes_the_plans_back(self) -> None:
        @layer(timeout=None)
        async def patient() -> str:
            await anyio.sleep(60)
            return "done"

        @layer(on_error="continue")
        async def hurried() -> None:
            await anyio.sleep(60)

        run = simulate(compile_plan(patient, hurried, timeout=5)).run

        assert run[patient] == "done"
        assert isinstance(run.failures["hurried"], LayerTimeout)

    def test_options_are_taken_over_by_a_plan_made_of_them(self) -> None:
        @layer
        async def slow() -> None:
            await anyio.sleep(60)

        trace = simulate(compile_plan(slow).options(deadline=5))

        assert isinstance(trace.error, DeadlineExceeded)
        assert trace.seconds == 5

    def test_options_that_do_not_go_with_a_unit_are_refused(self) -> None:
        @layer
        def in_a_thread() -> None: ...

        plan = compile_plan(in_a_thread)

        with pytest.raises(InvalidPlan) as caught:
            plan.options(timeout=3)
        assert "UnstoppableTimeout: 'in_a_thread'" in str(caught.value)

    def test_explain_says_what_differs_and_where_it_was_set(self) -> None:
        @layer(retries=1, priority=2)
        async def own() -> None: ...

        said = compile_plan(own, timeout=4, concurrency=3, threads=2, discipline="lifo", deadline=7).explain()

        assert "concurrency=3 threads=2 discipline=lifo deadline=7" in said
        assert "retries=1 timeout=4(plan) priority=2" in said

    def test_the_run_id_is_the_runs_and_part_of_each_steps_key(self) -> None:
        @layer
        async def asks() -> tuple[str, str]:
            return current_step().run_id, current_step().idempotency_key

        run = simulate(compile_plan(asks, run_id="order-42")).run

        assert run.id == "order-42"
        assert run[asks] == ("order-42", "order-42/asks")

    def test_a_process_takes_options_for_its_function(self) -> None:
        attempts: list[int] = []

        @process(one, retries=2, on_error=lambda error: "recovered")
        async def flaky(number: int = use(one)) -> str:
            attempts.append(number)
            raise ConnectionError

        assert simulate(compile_plan(flaky)).result == "recovered"
        assert attempts == [1, 1, 1]

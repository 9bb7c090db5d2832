"""Declarations, calls and runs that are refused; `test_compile_errors.py` holds what they are told."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import anyio

from fusynk import Graph, Limit, compile_plan, layer, use, when
from fusynk.testing import simulate
from tests import loose
from tests.shop import Shop, label, price, stock

Case = Callable[[], object]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Adds a case under the function's name."""
    CASES[function.__name__] = function
    return function


def cases(**refused: Case) -> None:
    """Adds cases that are short enough for one line."""
    CASES.update(refused)


def generator() -> Any:
    yield 1


async def is_fine(artifact: object) -> bool:
    return bool(artifact)


class FineObject:
    async def __call__(self, artifact: object) -> bool:
        return bool(artifact)


def shop() -> Any:
    """A graph of one unit."""
    graph = Graph("shop")
    graph.add_layer(label, name="label", bind={"left": stock})
    return graph


cases(
    # Options
    an_unknown_option_of_a_layer=lambda: loose.layer(retrys=3),
    an_unknown_option_of_a_worker=lambda: loose.worker(evry=60),
    an_unknown_option_of_a_process=lambda: loose.process(stock, dealy=1),
    an_unknown_option_with_no_near_name=lambda: loose.layer.each(zzz=1),
    an_unknown_option_of_a_plan=lambda: loose.compile_plan(stock, concurency=3),
    an_unknown_option_of_options=lambda: loose.compile_plan(stock).options(retrys=3),
    an_option_of_a_worker_on_a_layer=lambda: loose.layer(every=60),
    a_negative_number_of_retries=lambda: loose.layer(retries=-1),
    a_timeout_of_zero=lambda: loose.worker(timeout=0),
    an_interval_of_zero=lambda: loose.worker(every=0),
    a_cron_expression_of_four_fields=lambda: loose.worker(cron="0 4 * *"),
    an_unknown_time_zone=lambda: loose.worker(cron="0 4 * * *", timezone="Europe/Berln"),
    two_schedules=lambda: loose.worker(every=60, cron="0 4 * * *"),
    a_jitter_without_an_interval=lambda: loose.worker(jitter=5),
    a_jitter_beyond_the_interval=lambda: loose.worker(every=60, jitter=90),
    a_time_zone_without_cron=lambda: loose.worker(every=60, timezone="UTC"),
    a_delay_without_end=lambda: loose.layer(retry_delay=float("inf")),
    an_unknown_policy=lambda: loose.layer.each(on_error="ignore"),
    an_error_by_its_name=lambda: loose.layer(retry_on="ConnectionError"),
    tags_in_one_text=lambda: loose.layer(tags="slow, disk"),
    an_empty_name=lambda: loose.layer(name="")(label),
    a_plan_without_slots=lambda: loose.compile_plan(stock, concurrency=0),
    an_unknown_discipline=lambda: loose.compile_plan(stock).options(discipline="random"),
    a_limit=lambda: loose.layer(limit="tmdb"),
    a_compensation=lambda: loose.layer(compensate="release"),
    a_compensation_that_takes_nothing=lambda: loose.layer(compensate=lambda: None),
    a_weight_without_a_limit=lambda: loose.layer(weight=2),
    a_weight_that_is_never_granted=lambda: loose.layer(limit=Limit("api", concurrency=2), weight=3),
    a_weight_of_a_rate=lambda: loose.layer(limit=Limit("api", rate="5/s"), weight=2),
    a_limit_without_a_name=lambda: Limit(""),
    a_limit_of_nothing=lambda: Limit("api"),
    a_limit_of_none_at_once=lambda: Limit("api", concurrency=0),
    a_rate_that_is_a_number=lambda: loose.limit("api", rate=40),
    a_rate_without_a_time=lambda: Limit("api", rate="40"),
    a_rate_of_nothing=lambda: Limit("api", rate="0/s"),
    a_coroutine_in_a_thread=lambda: layer(run_in="thread")(is_fine),
    a_coroutine_in_an_os_process=lambda: layer(run_in="subprocess")(is_fine),
    a_generator_in_an_os_process=lambda: layer(run_in="subprocess")(generator),
    an_unknown_mode=lambda: loose.process(stock, mode="serial"),
    a_batch_of_none=lambda: loose.process(stock, mode="batched", size=0),
    # What is decorated
    a_class=lambda: loose.layer(Shop),
    a_number=lambda: loose.layer(7),
    a_plan_of_two_targets_without_a_name=lambda: loose.layer(compile_plan(price, stock)),
    a_unit_decorated_twice=lambda: layer(stock),
    a_lambda_without_a_name=lambda: layer(lambda: 1),
    a_partial_without_a_name=lambda: layer(partial(label, "a")),
    # Edges
    a_function_in_use=lambda: loose.use(label),
    a_number_in_each=lambda: loose.each(7),
    an_empty_name_in_use=lambda: use("", type=str),
    an_async_condition=lambda: use(stock, when=loose_is_fine),
    an_async_condition_in_depends_on=lambda: when(stock, loose_is_fine),
    a_callable_object_as_async_condition=lambda: loose.use(stock, when=FineObject()),
    a_condition_that_is_no_function=lambda: loose.when(stock, True),
    a_condition_of_the_wrong_arity=lambda: loose.use(stock, when=lambda: True),
    a_number_in_depends_on=lambda: loose.layer(depends_on=7)(label),
    a_function_in_depends_on=lambda: loose.layer(depends_on=label)(label),
    a_function_listed_in_depends_on=lambda: loose.layer(depends_on=[stock, label])(label),
    a_function_as_a_member=lambda: loose.process(label),
    a_number_as_a_member=lambda: loose.process("group", 7),
    a_member_listed_twice=lambda: compile_plan(loose.graph("shop").process("group", stock, price, stock)),
    a_number_in_bind=lambda: shop().add_layer(len, bind={"obj": 7}),
    # Graphs
    a_name_added_twice=lambda: shop().add_layer(len, name="label"),
    a_name_removed_that_is_not_there=lambda: shop().remove_layer("lable"),
    # Targets
    nothing_to_compile=loose.compile_plan,
    a_function_to_compile=lambda: loose.compile_plan(label),
    nothing_at_all_to_compile=lambda: loose.compile_plan(None),
    a_graph_beside_a_unit=lambda: loose.compile_plan(shop(), stock),
    a_module_that_does_not_exist=lambda: compile_plan("tests.nowhere"),
    a_path_of_a_unit_to_compile=lambda: compile_plan("tests.shop:stock"),
    a_covered_unit=lambda: loose.compile_plan(wraps(stock)(partial(label))),
    # Stand-ins
    a_text_to_raise=lambda: loose_stock.raises("lost"),
    a_number_to_call=lambda: loose_stock.calls(7),
    a_number_to_override=lambda: loose.compile_plan(stock).override(7),
    an_override_of_another_plan=lambda: compile_plan(stock).override(price.returns(1.0)),
    # Calls
    a_call_without_an_artifact=lambda: loose_price("abc"),
    a_call_with_a_marker=lambda: price("abc", left=use(stock)),
    a_call_of_a_process_without_a_function=loose.graph("shop").process("group", stock),
)
loose_is_fine: Any = is_fine
loose_stock: Any = stock
loose_price: Any = price


@dataclass(frozen=True)
class Purchase:
    product: str


@dataclass(frozen=True)
class Refund:
    product: str


cases(
    # Inputs of a run
    a_missing_input=lambda: compile_plan(price).run_sync(),
    an_unknown_input=lambda: compile_plan(price).run_sync(prodct="a", colour="red"),
    an_input_for_a_plan_that_takes_none=lambda: compile_plan(layer(lambda: 1, name="one")).run_sync(number=1),
    an_instance_where_no_class_is_declared=lambda: loose.compile_plan(price).run_sync(Purchase("a")),
    an_instance_of_another_class=lambda: loose.compile_plan(price, inputs=Purchase).run_sync(Refund("a")),
    a_mapping_instead_of_keywords=lambda: loose.compile_plan(price).run_sync({"product": "a"}),
    an_instance_and_keywords=lambda: loose.compile_plan(price, inputs=Purchase).run_sync(Purchase("a"), product="a"),
    a_missing_input_of_start=lambda: compile_plan(price).start(),
    a_marker_as_input=lambda: compile_plan(price).run_sync(product=use(stock)),
    # What a run does not have
    a_step_that_is_not_in_the_run=lambda: simulate(compile_plan(price), {"product": "a"}).run["stok"],
    an_item_that_is_not_in_the_run=lambda: simulate(compile_plan(price), {"product": "a"}).run["stock[0]"],
    a_unit_that_is_not_in_the_run=lambda: simulate(compile_plan(stock), {"product": "a"}).run[price],
    a_step_of_another_instance=lambda: simulate(compile_plan(Shop(1).count), {"ordered": 1}).run[Shop(1).count],
)


@case
def run_sync_inside_a_loop() -> object:
    async def inside() -> object:
        return compile_plan(price).run_sync(product="a")

    return anyio.run(inside)


def failing() -> Any:
    graph = Graph("shop")

    @graph.layer
    async def stock() -> int:
        raise ConnectionError("lost")

    @graph.layer
    async def price(left: int = use(stock)) -> int:
        return left

    @graph.layer(depends_on=when("probe", bool))
    async def never() -> None: ...

    @graph.layer
    async def probe() -> int:
        return 0

    return graph


@case
def the_result_of_a_step_that_failed() -> object:
    return simulate(compile_plan(failing(), on_error="continue")).run["stock"]


@case
def the_result_of_a_step_behind_it() -> object:
    return simulate(compile_plan(failing(), on_error="continue")).run["price"]


@case
def the_result_of_a_step_that_a_condition_skipped() -> object:
    return simulate(compile_plan(failing(), on_error="continue")).run["never"]


@case
def the_result_of_a_step_that_was_cancelled() -> object:
    return simulate(compile_plan(failing())).run["price"]

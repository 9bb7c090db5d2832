"""Every line marked `# error` is refused by both checkers, and no other line is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fusynk.journals import SqliteJournal
from fusynk import Batch, Graph, Layer, Limit, Plan, Run, compile_plan, each, layer, process, use, when, worker
from fusynk.testing import simulate
from tests.typing.accepted import (
    Order,
    Purchase,
    RushOrder,
    Shelf,
    Shop,
    ask_service,
    clean,
    fetch_film,
    film_ids,
    find_customer,
    gathered,
    lecture,
    look_up_shelf,
    nothing,
    orders,
    pack,
    place_order,
    plenty,
    print_receipt,
    shorten,
    total,
)
from tests.typing.accepted_plans import one, two

# An edge of another type


@layer
async def wrong_artifact(shelf: str = use(look_up_shelf)) -> None: ...  # error


@layer
async def coroutine_instead_of_artifact(number: str = use(ask_service)) -> None: ...  # error


@layer
async def wider_artifact(order: RushOrder = use(pack)) -> None: ...  # error


@layer
def plain_wrong_artifact(text: int = use(print_receipt)) -> None: ...  # error


@layer
async def text_of_process(length: float = use(lecture)) -> None: ...  # error


@layer
async def mapping_of_process(parts: list[object] = use(gathered)) -> None: ...  # error


@worker
async def count_of_worker(count: str = use(clean)) -> None: ...  # error


# Defaults, conditions, outcomes, names


@layer
async def forgotten_none(text: str = use(plenty, default=None)) -> None: ...  # error


@layer
async def wrong_default(shelf: Shelf = use(look_up_shelf, default="none")) -> None: ...  # error


@layer
async def wrong_condition(shelf: Shelf = use(look_up_shelf, when=lambda shelf: shelf.right > 1)) -> None: ...  # error


def is_long(text: str) -> bool:
    return len(text) > 9


@layer
async def condition_of_another(shelf: Shelf = use(look_up_shelf, when=is_long)) -> None: ...  # error


@layer(depends_on=when(find_customer, is_long))  # error
async def order_condition_of_another() -> None: ...


@layer(depends_on=when(find_customer, lambda customer: customer.upper() == "X"))  # error
async def wrong_order_condition() -> None: ...


@layer(depends_on=when(find_customer))  # error
async def missing_condition() -> None: ...


@layer
async def outcome_is_no_artifact(shelf: Shelf = use.outcome(look_up_shelf)) -> None: ...  # error


@layer
async def name_without_type(shelf: Shelf = use("look_up_shelf")) -> None: ...  # error


@layer
async def name_of_another_type(shelf: Shelf = use("look_up_shelf", type=str)) -> None: ...  # error


def plain() -> str:
    return "plain"


@layer
async def use_of_a_function(text: str = use(plain)) -> None: ...  # error


@layer(depends_on=plain)  # error
async def depends_on_a_function() -> None: ...


@layer(depends_on=7)  # error
async def depends_on_a_number() -> None: ...


# Fan-out


@layer.each
async def wrong_item(film_id: str = each(film_ids)) -> None: ...  # error


@layer.each()
async def no_collection(shelf: Shelf = each(look_up_shelf)) -> None: ...  # error


@layer.each
async def wrong_chain(title: bytes = each(fetch_film)) -> None: ...  # error


@layer
async def batch_is_no_list(films: list[str] = use(fetch_film)) -> None: ...  # error


@layer
async def batch_of_others(films: Batch[int] = use(fetch_film)) -> None: ...  # error


@layer
async def batch_is_no_item(film: str = use(fetch_film)) -> None: ...  # error


# Options


@layer(retrys=3)  # error
async def misspelt_option() -> None: ...


@layer(retries="3")  # error
async def text_for_a_number() -> None: ...


@layer(on_error="ignore")  # error
async def unknown_policy() -> None: ...


@layer(retry_on="ConnectionError")  # error
async def name_of_an_error() -> None: ...


@layer(run_in="process")  # error
def unknown_place() -> None: ...


@layer(every=5)  # error
async def schedule_on_a_layer() -> None: ...


@worker(evry=5)  # error
async def misspelt_schedule() -> None: ...


@process(clean, mode="serial")  # error
async def unknown_mode() -> None: ...


@process(plain)  # error
async def function_as_member() -> None: ...


process("named", plain)  # error

# Graphs

shop = Graph("shop")


@shop.layer(priorty=1)  # error
async def misspelt_in_graph() -> None: ...


@shop.layer
async def wrong_edge_in_graph(total: str = use(total)) -> None: ...  # error


shop.add_layer(plain, retrys=1)  # error
shop.add_layer(plain, bind={"text": 3})  # error
shop.add_layer("plain")  # error
shop.remove_layer(total)  # error

# Plans, options, stand-ins

compile_plan(plain)  # error
compile_plan()  # error
compile_plan(one)  # error
compile_plan(look_up_shelf, orders)  # error
compile_plan(look_up_shelf, inputs=Purchase("p", 1, "c"))  # error
compile_plan(look_up_shelf, concurency=3)  # error
one.options(discipline="random")  # error
one.options(timeout="5")  # error
one.options(priority=5)  # error
one.override(look_up_shelf.returns("nothing"))  # error
one.override(fetch_film.returns("a film"))  # error
one.override(ask_service.returns("seven"))  # error
one.override(place_order.returns(Order("o", total=place_order)))  # error
one.override(nothing.raises("an error"))  # error
one.override(look_up_shelf.calls(7))  # error
one.override(Shelf(1))  # error
one.order = ()  # error
one.settings.concurrency = 4  # error


@dataclass(frozen=True)
class Other:
    product_id: str


async def wrong_inputs() -> None:
    await one.run({"product_id": "p"})  # error
    await one.run(Other("p"))  # error
    await two.run(Purchase("p", 1, "c"))  # error
    one.run_sync(Other("p"))  # error
    one.start(Other("p"))  # error
    simulate(one, "p", backend="curio")  # error


async def wrong_results(run: Run[str]) -> None:
    number: int = run.result  # error
    shelf: str = run[look_up_shelf]  # error
    films: Batch[int] = run[fetch_film]  # error
    short: list[bytes] = run[shorten]  # error
    run[plain]  # error
    run[7]  # error
    run.outcome(plain)  # error
    pair: tuple[str, int] = (await two.run()).result  # error
    text: str = simulate(one, Purchase("p", 1, "c")).run[look_up_shelf]  # error
    print(number, shelf, films, short, pair, text)


# Calls stay what they were


async def wrong_calls(instance: Shop) -> None:
    await look_up_shelf(1, 2)  # error
    await look_up_shelf("p")  # error
    await look_up_shelf("p", 1, amount=2)  # error
    print_receipt("shelf")  # error
    await fetch_film("seven")  # error
    await instance.count(3)  # error
    await Shop.count("p")  # error
    text: bytes = print_receipt(Shelf(1))  # error
    print(text)


# What does not pass for what


def takes_plan(plan: Plan[Other, str]) -> None: ...


def takes_layer(unit: Layer[..., object, Order]) -> None: ...


takes_plan(one)  # error
takes_layer(place_order)  # error


# Resources, compensations, limits, nested plans


@layer
async def connection() -> AsyncIterator[int]:
    yield 1


@layer
async def wrong_artifact_of_a_resource(number: str = use(connection)) -> None: ...  # error


@layer
async def the_generator_itself(generator: AsyncIterator[int] = use(connection)) -> None: ...  # error


layer(compile_plan(connection)).returns("one")  # error
compile_plan(one, processes="2")  # error
Limit("api", rate=40)  # error
Limit("api", concurrency="4")  # error


@layer(limit="api")  # error
async def limited_by_a_name() -> None: ...


@layer(compensate="release")  # error
async def compensated_by_a_name() -> None: ...
one.options(journal="runs.db")  # error
one.options(journal=SqliteJournal)  # error
one.resume_sync("order-42", journal="runs.db")  # error
one.resume_sync(42)  # error
SqliteJournal("runs.db", synchronous="OFF")  # error

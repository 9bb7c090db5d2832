"""The five steps of an order, compiled once and run many times, against an empty task group."""

import anyio

from benchmarks.contenders import empty_group
from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, Samples, ratios, take_turns
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from fusynk import Graph, compile_plan, use

MOST_OVER_EMPTY_GROUP = 8

orders = Graph("orders")
started: list[str] = []


@orders.layer
async def check_inventory(product: str, quantity: int) -> int:
    """What would be left in stock."""
    started.append("check_inventory")
    return len(product) * 10 - quantity


@orders.layer
async def validate_customer(customer: str) -> bool:
    """Whether the customer is known."""
    started.append("validate_customer")
    return bool(customer)


@orders.layer
async def reserve_inventory(left: int = use(check_inventory)) -> str:
    """A reservation."""
    started.append("reserve_inventory")
    return f"r{left}"


@orders.layer
async def create_order(reservation: str = use(reserve_inventory), known: bool = use(validate_customer)) -> str:  # noqa: FBT001
    """An order."""
    started.append("create_order")
    return f"{reservation}-{known}"


@orders.layer
async def process_payment(order: str = use(create_order)) -> str:
    """A receipt."""
    started.append("process_payment")
    return f"paid {order}"


plan = compile_plan(process_payment)
SEQUENCE = ["check_inventory", "validate_customer", "reserve_inventory", "create_order", "process_payment"]


async def run_order() -> str:
    """The receipt of one run of the plan."""
    run = await plan.run(product="p1", quantity=2, customer="c1")
    return run.result


async def check_order() -> None:
    """Runs the plan once and looks at all it did.

    Raises:
        AssertionError: When a step ran twice, never, too early, or with a wrong artifact.
    """
    started.clear()
    assert await run_order() == "paid r18-True"
    assert started == SEQUENCE


async def _compare(settings: Settings) -> Samples:
    await check_order()
    calls = settings.order_runs
    entries = {"empty group": Entry(empty_group, calls), "order plan": Entry(run_order, calls)}
    samples = await take_turns(entries, settings.rounds)
    expected = SEQUENCE * (settings.rounds * calls + 2)  # the check, the call that is not counted, the samples
    assert started == expected
    return samples


def measure_order(settings: Settings) -> list[Figure]:
    """The figures of the order plan on every backend."""
    figures: list[Figure] = []
    for backend in settings.backends:
        samples = anyio.run(_compare, settings, backend=backend)
        for contender, taken in samples.items():
            per_run = [seconds * MICRO for seconds in taken]
            figures.append(
                Figure(benchmark="order", backend=backend, name=f"{contender}, a run", unit="us", samples=per_run)
            )
        over = ratios(samples["order plan"], samples["empty group"])
        target = Target("at most", MOST_OVER_EMPTY_GROUP)
        figures.append(
            Figure(
                benchmark="order", backend=backend, name="times an empty group", unit="x", samples=over, target=target
            )
        )
    return figures

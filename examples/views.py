"""Shows each view of a plan and of its run: before, while it goes on, and after.

    python examples/views.py [directory]

An order is served once, in about two seconds; on a terminal you see it go on. Views that are text are printed, each
under the call that makes it. The others are files in the directory. `--simulate` serves the order in virtual time: then
all that is printed is the same every time.

The order goes as orders go: the directory of customers hangs up once, one of three carriers does not answer, nobody
asked for gift wrapping, and the mail server refuses the receipt, which keeps no parcel from leaving.
"""

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio
import msgspec
from loguru import logger
from scripts import Parser, leave_with

import fusynk.logging
from fusynk import Batch, Plan, Run, compile_plan, current_step, each, layer, milestone, telemetry, use, when
from fusynk.events import Event
from fusynk.testing import simulate

if TYPE_CHECKING:
    from fusynk.telemetry.recording import Recording  # needs the OpenTelemetry SDK, which may not be there

STOCK = {"teapot": 12}
CUSTOMERS = {"Ada": 4}  # how far away they live, in km
CARRIERS = {"bicycle": 5, "drone": 20, "van": 500}  # how far they go, in km
PRICES = {"bicycle": 450, "drone": 990, "van": 690}  # in cents


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer wants."""

    product: str
    quantity: int
    customer: str
    is_gift: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a carrier asks for."""

    carrier: str
    cents: int


# The plan. Its bodies wait where those of a shop would talk to other services.
@layer(priority=2)
async def check_inventory(product: str, quantity: int) -> int:
    """Returns how many are left."""
    await anyio.sleep(0.25)
    return STOCK[product] - quantity


@layer(priority=1, retries=2, retry_delay=0.2, retry_on=ConnectionError)
async def find_customer(customer: str) -> int:
    """Returns how far away a customer lives."""
    await anyio.sleep(0.15)
    if current_step().attempt == 1:
        raise ConnectionResetError("the directory of customers hung up")
    distance = CUSTOMERS[customer]
    milestone("customer-found", customer=customer, km=distance)
    return distance


@layer
async def nearby_carriers(distance: int = use(find_customer)) -> list[str]:
    """Returns the carriers that go so far."""
    return [carrier for carrier, reach in CARRIERS.items() if distance <= reach]


@layer.each(timeout=0.3, on_error="continue")  # of each carrier; the others' offers are enough
async def ask_carrier(carrier: str = each(nearby_carriers)) -> Offer:
    """Returns the offer of a carrier."""
    await anyio.sleep(10 if carrier == "drone" else PRICES[carrier] / 4000)
    return Offer(carrier, PRICES[carrier])


@layer
async def choose_offer(offers: Batch[Offer] = use(ask_carrier)) -> Offer:
    """Returns the cheapest offer."""
    offer = min(offers, key=lambda offer: offer.cents)
    milestone("offer-chosen", carrier=offer.carrier, of=len(offers))
    return offer


@layer(depends_on=when(check_inventory, lambda left: left >= 0))
async def charge(quantity: int, offer: Offer = use(choose_offer)) -> int:
    """Returns how many cents were taken."""
    await anyio.sleep(0.3)
    return 1500 * quantity + offer.cents


@layer
async def wants_wrapping(is_gift: bool) -> bool:  # noqa: FBT001 - an input of the plan, given by name
    """Says whether this is a gift."""
    return is_gift


@layer(depends_on=[when(wants_wrapping, bool), charge])
async def wrap_gift(product: str) -> str:
    """Returns the parcel of a gift."""
    await anyio.sleep(0.2)
    return f"{product} in golden paper"


@layer(on_error="continue")
async def send_receipt(customer: str, cents: int = use(charge)) -> None:
    """Mails the receipt, or fails, and the run goes on."""
    await anyio.sleep(0.1)
    raise ConnectionRefusedError(f"the mail server takes nothing for {customer}, not even {cents} cents")


@layer(depends_on=[charge, send_receipt])
async def ship(product: str, offer: Offer = use(choose_offer), gift: str | None = use(wrap_gift, default=None)) -> str:
    """Returns what left the house, and how."""
    await anyio.sleep(0.2)
    return f"{gift or product}, by {offer.carrier}"


checkout = compile_plan(ship, inputs=Order, concurrency=3)
ORDER = Order("teapot", 2, "Ada")

Performer: TypeAlias = Callable[[Plan[Order, str], Order], Run[str]]


def in_real_time(plan: Plan[Order, str], order: Order) -> Run[str]:
    """Runs a plan once."""
    return plan.run_sync(order)


def in_virtual_time(plan: Plan[Order, str], order: Order) -> Run[str]:
    """Runs a plan once, in no time and with the same figures every time."""
    return simulate(plan, order).run


def show(call: str, text: str) -> None:
    """Prints a view below the call that makes it."""
    print(f"\n## {call}\n\n{text}", flush=True)


# Before anything runs: what will happen, and where every parameter comes from.
def show_plan(plan: Plan[Order, str], directory: Path) -> None:
    """Shows the views of a plan."""
    show("plan.explain()", plan.explain())
    show("plan.draw()", plan.draw())
    (directory / "plan.mmd").write_text(plan.to_mermaid(), "utf-8")  # GitHub and many editors draw it
    (directory / "plan.dot").write_text(plan.to_dot(), "utf-8")  # for Graphviz
    (directory / "plan.svg").write_text(plan.to_svg(), "utf-8")  # for any browser


# While it goes on. Any number may look on; a view that fails is dropped, and the run does not notice.
def serve(order: Order, directory: Path, perform: Performer) -> Run[str]:
    """Serves an order, watched by all that can watch a run."""
    show("plan.options(progress=True)", "On the standard error: a drawing on a terminal, lines elsewhere.")
    with (directory / "events.jsonl").open("wb") as file, log_lines(directory / "run.log"), recorded() as recording:

        def keep(event: Event) -> None:
            file.write(msgspec.json.encode(event) + b"\n")

        run = perform(checkout.options(progress=True, subscribers=[keep]), order)
    show("plan.options(subscribers=[keep])", (directory / "events.jsonl").read_text("utf-8").rstrip())
    show("fusynk.logging.enable()", (directory / "run.log").read_text("utf-8").rstrip())
    if recording is not None:
        show("fusynk.telemetry.capture()", span_tree(recording))
    return run


@contextmanager
def log_lines(path: Path) -> Generator[None]:
    """Has the runs in the block write log lines. fusynk is silent otherwise."""
    sink = logger.add(path, format="{level:<7} {message}", mode="w")
    fusynk.logging.enable()
    try:
        yield
    finally:
        fusynk.logging.disable()
        logger.remove(sink)


def recorded() -> AbstractContextManager["Recording | None"]:
    """Records OpenTelemetry spans, if its SDK is there. An application would call `telemetry.setup(...)` once."""
    try:
        return telemetry.capture()
    except telemetry.TelemetryUnavailable:
        return nullcontext()


def span_tree(recording: "Recording") -> str:
    """Returns the names of spans, each below the span it lies in, with the error of what failed."""

    def rows(parent: int | None, indent: str) -> Iterator[str]:
        inside = [span for span in recording.spans if (span.parent.span_id if span.parent else None) == parent]
        for span in sorted(inside, key=lambda span: span.start_time or 0):
            yield " ".join([indent + span.name, str((span.attributes or {}).get("error.type", ""))]).rstrip()
            yield from rows(span.context.span_id if span.context else 0, indent + "  ")

    return "\n".join(rows(None, ""))


# After it has ended.
def show_run(run: Run[str], directory: Path) -> None:
    """Shows the views of a run."""
    show("run.draw()", run.draw())
    show("run.timeline()", run.timeline())
    show("run.milestones", "\n".join(f"{one.step}: {one.name} {dict(one.values)}" for one in run.milestones))
    show("run.report", str(run.report))
    run.to_trace(directory / "run.trace.json")  # open it at https://ui.perfetto.dev
    run.to_html(directory / "run.html")  # a page to keep: it loads nothing, and needs no script
    (directory / "run.svg").write_text(run.to_svg(), "utf-8")
    (directory / "run.mmd").write_text(run.to_mermaid(), "utf-8")


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Show each view of a plan and of its run.")
    parser.add_argument("directory", type=Path, nargs="?", help="where files go (default: a temporary directory)")
    parser.add_argument("--simulate", action="store_true", help="run in virtual time: the same output every time")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="views-"))
    logger.remove()  # loguru's own sink, which prints on the standard error, where the run is drawn
    try:
        directory.mkdir(parents=True, exist_ok=True)
        show_plan(checkout, directory)
        run = serve(ORDER, directory, in_virtual_time if options.simulate else in_real_time)
        show_run(run, directory)
    except BrokenPipeError:  # of what is printed, not of the files
        raise
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    print(f"\n{run.result} left the house. In {directory}:")
    print(*(f"  {file.name}" for file in sorted(directory.iterdir())), sep="\n")
    return 0


if __name__ == "__main__":
    leave_with(main)

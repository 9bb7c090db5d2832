"""Takes files through four stages: check, set aside, sum up, publish. Each stage gets what the one before it made.

    python examples/pipeline.py
    python examples/pipeline.py sales-1.csv sales-2.csv --dry-run

The stages are workers, and the pipeline a process of them in mode "sequential". A stage whose condition does not hold
is skipped, and the rest goes on: nothing is set aside where all files are sound, and a dry run publishes nothing.
Within a stage files go through `run_items`: all at once when they are checked, two at a time when they are summed up,
one after the other when they are published. Files may be given; otherwise five are made up, one of which is no table.
"""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
from scripts import Parser, leave_with

from fusynk import Batch, Manager, Run, Skipped, layer, milestone, process, run_items, use, when, worker
from fusynk.manager.events import MilestoneReached
from fusynk.testing import run_virtual

COLUMNS = ["product", "cents"]


class NoTable(ValueError):
    """A file is not what this pipeline reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What goes into the pipeline.

    Attributes:
        files: The tables, as CSV.
        shop: The folder in which totals are published.
        is_dry: Whether nothing is published.
    """

    files: Sequence[Path]
    shop: Path
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """What a table comes to."""

    name: str
    cents: int


# Stage 1: all files at once. A file that is refused is no failure of the stage.
def read_table(file: Path) -> list[int]:
    """Returns the sums in a table. A plain function, so it runs in a thread and may wait for the disk.

    Raises:
        NoTable: It is none.
    """
    rows = list(csv.reader(file.read_text("utf-8").splitlines()))
    if not rows or rows[0] != COLUMNS:
        raise NoTable(f"its first line is not {','.join(COLUMNS)}")
    try:
        return [int(cents) for _, cents in rows[1:]]
    except ValueError as error:
        raise NoTable(f"a row has no product and cents: {error}") from error


@worker
async def check(files: Sequence[Path]) -> Batch[list[int]]:
    """Returns the tables by file, and the errors of the files that are none."""
    tables = await run_items(files, read_table, key=lambda file: file.name, concurrency=max(1, len(files)))
    milestone("checked", sound=len(tables), refused=len(tables.failures))
    return tables


# Stage 2: only if there is something to set aside.
@worker(depends_on=when(check, lambda tables: len(tables.failures) > 0))
async def set_aside(shop: Path, tables: Batch[list[int]] = use(check)) -> Path:
    """Writes which files were refused, and why."""
    await anyio.sleep(0.05)
    lines = [f"{name}: {error}\n" for name, error in tables.failures.items()]
    milestone("set-aside", files=", ".join(map(str, tables.failures)))
    file = shop / "refused.txt"
    file.write_text("".join(lines), "utf-8")
    return file


# Stage 3: two at a time. It does not run if no file is sound, and then stage 4 does not either.
@worker
async def sum_up(tables: Batch[list[int]] = use(check, when=lambda tables: len(tables) > 0)) -> list[Total]:
    """Returns the totals in the order of the files."""

    async def total(named: tuple[object, list[int]]) -> Total:
        await anyio.sleep(0.2)
        return Total(str(named[0]), sum(named[1]))

    totals = await run_items(tables.successes.items(), total, concurrency=2)
    milestone("summed-up", cents=sum(one.cents for one in totals))
    return list(totals)


# Stage 4: one after the other, and only if this is no dry run.
@layer
async def may_publish(is_dry: bool) -> bool:  # noqa: FBT001 - an input of the plan, given by name
    """Says whether anything is to leave the house."""
    return not is_dry


@worker(depends_on=when(may_publish, bool))
async def publish(shop: Path, totals: list[Total] = use(sum_up)) -> list[Path]:
    """Puts each total into the shop, in the order of the files."""

    async def put(total: Total) -> Path:
        await anyio.sleep(0.05)
        file = shop / f"{total.name}.total"
        file.write_text(f"{total.cents}\n", "utf-8")
        return file

    files = list(await run_items(totals, put, concurrency=1))
    milestone("published", files=len(files))
    return files


pipeline = process("pipeline", check, set_aside, sum_up, publish, mode="sequential")


def told(event: MilestoneReached) -> None:
    """Prints what a stage reports; the milestones of `run_items` itself are left out."""
    if event.name != "progress":
        values = ", ".join(f"{name} {value}" for name, value in event.values.items())
        print(f"{event.step}: {event.name}: {values}", flush=True)


async def deliver(delivery: Delivery) -> Run[object]:
    """Runs the pipeline once, and returns the run."""
    async with Manager(pipeline) as manager:
        manager.on_milestone(told, unit=pipeline)
        await manager.run(pipeline, files=delivery.files, shop=delivery.shop, is_dry=delivery.is_dry)
    return cast("Run[object]", manager.last_run(pipeline))


def stages(run: Run[object]) -> Iterator[str]:
    """Yields how each stage ended."""
    for stage in (check, set_aside, sum_up, publish):
        outcome = run.outcome(stage)
        because = f", because of {outcome.because}" if isinstance(outcome, Skipped) else ""
        yield f"  {stage.unit.name:<10} {type(outcome).__name__.lower()}{because}"


def made_up(folder: Path) -> list[Path]:
    """Writes five files, of which the third is no table, and returns them."""
    files = [folder / name for name in ("sales-1.csv", "sales-2.csv", "settings.json", "sales-3.csv", "sales-4.csv")]
    for number, file in enumerate(files, 1):
        is_table = file.suffix == ".csv"
        file.write_text(f"product,cents\nteapot,{number * 1500}\ncup,{number * 250}\n" if is_table else "{}\n", "utf-8")
    return files


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Take files through a pipeline of four stages.")
    parser.add_argument("files", type=Path, nargs="*", help="tables as CSV (default: five are made up)")
    parser.add_argument("--shop", type=Path, help="the folder for the totals (default: a temporary directory)")
    parser.add_argument("--dry-run", action="store_true", help="publish nothing")
    parser.add_argument("--simulate", action="store_true", help="in virtual time: no waiting")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    shop = options.shop or Path(tempfile.mkdtemp(prefix="shop-"))
    try:
        shop.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            files = options.files or made_up(Path(folder))
            delivery = Delivery(files=files, shop=shop, is_dry=options.dry_run)
            run = (run_virtual if options.simulate else anyio.run)(deliver, delivery)
    except BrokenPipeError:  # of what is printed
        raise
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    print(f"\n{run.draw()}\n", *stages(run), f"\nIn {shop}:", sep="\n")
    for file in sorted(shop.iterdir()):
        print(f"  {file.name}: {file.read_text('utf-8').rstrip()}")
    return 0


if __name__ == "__main__":
    leave_with(main)

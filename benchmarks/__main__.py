"""The one command: `python -m benchmarks` measures, prints a table on stderr and JSON on stdout."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figure, Former, document, line
from benchmarks.fresh import output_of
from benchmarks.growth import measure_compile, measure_growth
from benchmarks.imports import measure_imports
from benchmarks.memory import measure_memory
from benchmarks.order import measure_order
from benchmarks.overhead import measure_shape
from benchmarks.settings import BACKENDS, Settings
from benchmarks.shapes import SHAPES


def _of_module(module: str, function: str, settings: Settings) -> list[Figure]:
    """Measure by a module that is imported only now, because former versions of fusynk lack what it imports."""
    measure: Callable[[Settings], list[Figure]] = getattr(import_module(f"benchmarks.{module}"), function)
    return measure(settings)


BENCHMARKS: dict[str, Callable[[Settings], list[Figure]]] = {
    **{name: partial(measure_shape, name) for name in SHAPES},
    "events": partial(_of_module, "events", "measure_events"),
    "order": measure_order,
    "limits": partial(_of_module, "limits", "measure_limits"),
    "manager": partial(_of_module, "manager", "measure_manager"),
    "drawing": partial(_of_module, "drawing", "measure_drawing"),
    "journal": partial(_of_module, "journal", "measure_journal"),
    "durable": partial(_of_module, "durable", "measure_durable"),
    "compile": measure_compile,
    "growth": measure_growth,
    "memory": measure_memory,
    "imports": measure_imports,
    "subprocesses": partial(_of_module, "subprocesses", "measure_subprocesses"),
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to measure (all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help="samples for each figure (%(default)s)")
    parser.add_argument(
        "--import-rounds", type=int, default=defaults.import_rounds, help="same, of imports (%(default)s)"
    )
    parser.add_argument("--steps", type=int, default=defaults.steps, help="size of the graphs (%(default)s)")
    parser.add_argument(
        "--large", type=int, default=defaults.large, help="size that growth is measured on (%(default)s)"
    )
    parser.add_argument("--order-runs", type=int, default=defaults.order_runs, help="order runs a sample (%(default)s)")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="where to run (both)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there instead of to stdout")
    parser.add_argument("--quiet", action="store_true", help="print no table")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout to compare with")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return chosen


def settings_of(chosen: argparse.Namespace) -> Settings:
    """The chosen settings."""
    return Settings(
        rounds=chosen.rounds,
        import_rounds=chosen.import_rounds,
        steps=chosen.steps,
        large=chosen.large,
        order_runs=chosen.order_runs,
        backends=tuple(chosen.backend or BACKENDS),
    )


def former_figures(checkout: Path, name: str, arguments: Sequence[str]) -> Former:
    """The values of the same benchmark with the fusynk of another checkout, measured in a process of its own."""
    code = "from benchmarks.__main__ import main; main(sys.argv[1:])"
    try:
        printed = output_of(code, name, "--quiet", *arguments, fusynk_from=checkout.resolve())
    except subprocess.CalledProcessError:
        print(f"{name}: the other checkout cannot be measured; it most likely has no such thing", file=sys.stderr)
        return {}
    rows = json.loads(printed)["figures"]
    return {(row["benchmark"], row["backend"], row["name"]): row["value"] for row in rows}


def options_for_another(settings: Settings) -> list[str]:
    """The settings as a command line."""
    options = [f"--backend={backend}" for backend in settings.backends]
    return options + [
        f"--{name.replace('_', '-')}={value}" for name, value in asdict(settings).items() if name != "backends"
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line names."""
    chosen = parse(sys.argv[1:] if arguments is None else arguments)
    settings = settings_of(chosen)
    figures: list[Figure] = []
    former: Former = {}
    for name in chosen.names or BENCHMARKS:
        measured = BENCHMARKS[name](settings)
        if chosen.against is not None:  # straight after, while the machine is in the same mood
            former |= former_figures(chosen.against, name, options_for_another(settings))
        figures += measured
        for figure in () if chosen.quiet else measured:
            print(line(figure, former), file=sys.stderr, flush=True)
    text = json.dumps(document(figures, former, asdict(settings)), indent=2)
    if chosen.json is None:
        print(text)
    else:
        chosen.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()

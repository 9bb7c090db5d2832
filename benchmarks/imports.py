"""What `import fusynk` costs against the imports it cannot do without, and what it must not load."""

from benchmarks.figures import Figure, Target
from benchmarks.fresh import output_of
from benchmarks.measure import Samples, ratios, rotated
from benchmarks.settings import Settings

MOST_OVER_BASE = Target("at most", 2)
NONE_LOADED = Target("at most", 0)
FORBIDDEN = ("click", "hypothesis", "opentelemetry.sdk", "redis", "rich", "sqlite3")
SIDES = {"fusynk": "import fusynk", "base": "import anyio, wrapt, loguru, opentelemetry.trace"}
TIMED = "import time; started = time.process_time(); {}; print(time.process_time() - started)"
MILLI = 1e3


def loaded_in_vain() -> list[str]:
    """The forbidden modules that `import fusynk` loads."""
    loaded = output_of("import fusynk; print(*sys.modules)").split()
    return [name for name in FORBIDDEN if name in loaded]


def measure_imports(settings: Settings) -> list[Figure]:
    """The figures of the import, from fresh interpreters that take turns; the first of each side is not counted."""
    samples: Samples = {side: [] for side in SIDES}
    for turn in range(settings.import_rounds + 1):
        for side in rotated(list(SIDES), turn):
            samples[side].append(float(output_of(TIMED.format(SIDES[side]))))
    samples = {side: taken[1:] for side, taken in samples.items()}
    figures = [
        Figure(benchmark="imports", name=SIDES[side], unit="ms", samples=[seconds * MILLI for seconds in taken])
        for side, taken in samples.items()
    ]
    over = ratios(samples["fusynk"], samples["base"])
    figures.append(Figure(benchmark="imports", name="times the base", unit="x", samples=over, target=MOST_OVER_BASE))
    loaded = loaded_in_vain()
    figures.append(
        Figure(
            benchmark="imports",
            name="forbidden modules loaded",
            unit="",
            samples=[len(loaded)],
            target=NONE_LOADED,
            note=", ".join(loaded),
        )
    )
    return figures

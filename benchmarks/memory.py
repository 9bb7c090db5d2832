"""The peak memory of declaring, compiling and running a large graph, over that of the bare import."""

import gc
import json
import sys
from pathlib import Path

from benchmarks.figures import Figure, Target
from benchmarks.fresh import output_of
from benchmarks.settings import Settings

MOST_MEGABYTES = Target("below", 250)
KILOBYTES = 1024


def peak_megabytes() -> float:
    """The most memory that this process ever held.

    Linux lets `ru_maxrss` of a fresh interpreter begin at its parent's; the status file counts from its own start.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peaks = [
            line.split()[1] for line in status.read_text("ascii", "replace").splitlines() if line.startswith("VmHWM")
        ]
        if peaks:
            return int(peaks[0]) / KILOBYTES
    import resource  # noqa: PLC0415 (not everywhere)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / KILOBYTES / (KILOBYTES if sys.platform == "darwin" else 1)


def print_peaks(backend: str, steps: int) -> None:
    """Prints the peak after the bare import, after declaring, after compiling and after running, as JSON.

    The import of the benchmarks is part of the bare import; only small modules of their own are added by it.
    """
    import anyio  # noqa: PLC0415 (imported here, so that the figure counts from a known place)

    from benchmarks import checks, shapes  # noqa: PLC0415
    from fusynk import compile_plan  # noqa: PLC0415

    anyio.run(anyio.sleep, 0, backend=backend)
    gc.collect()
    peaks = {"import": peak_megabytes()}
    shape = shapes.layered(steps)
    graph = shapes.declare(shape, shapes.empty_bodies(shape))
    peaks["declare"] = peak_megabytes()
    plan = compile_plan(graph)
    peaks["compile"] = peak_megabytes()
    run = anyio.run(plan.run, backend=backend)
    peaks["run"] = peak_megabytes()
    checks.check_records(run, steps)
    print(json.dumps(peaks))


def measure_memory(settings: Settings) -> list[Figure]:
    """The figures of memory on every backend, each from one fresh interpreter."""
    code = "from benchmarks.memory import print_peaks; print_peaks(sys.argv[1], int(sys.argv[2]))"
    figures: list[Figure] = []
    for backend in settings.backends:
        peaks: dict[str, float] = json.loads(output_of(code, backend, str(settings.large)))
        over = {name: peak - peaks["import"] for name, peak in peaks.items()}
        figures.append(
            Figure(
                benchmark="memory",
                backend=backend,
                name=f"peak of {settings.large} over the import",
                unit="MB",
                samples=[over["run"]],
                target=MOST_MEGABYTES,
                note=f"declared {over['declare']:.0f}, compiled {over['compile']:.0f}, import {peaks['import']:.0f}",
            )
        )
    return figures

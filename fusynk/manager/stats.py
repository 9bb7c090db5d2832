"""Figures of the process: CPU, memory and threads, from psutil where it is installed."""

import threading
import time
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fusynk._core.memory import peak_memory


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What the process uses now.

    Attributes:
        cpu: Share of one CPU since the last time, or `None` the first time.
        cpu_time: Seconds of CPU time so far.
        memory: Bytes that it holds, or at most has held; `None` if the platform does not tell.
        threads: How many threads it has.
    """

    cpu: float | None
    cpu_time: float
    memory: int | None
    threads: int


class Meter:
    """Reads the figures of the process."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def read(self) -> ProcessFigures:
        """Return the figures; the share of CPU is that since the last call."""
        now, cpu_time = time.perf_counter(), time.process_time()
        last, self._last = self._last, (now, cpu_time)
        share = (cpu_time - last[1]) / (now - last[0]) if last is not None and now > last[0] else None
        return ProcessFigures(share, cpu_time, self._memory(), threading.active_count())

    def _memory(self) -> int | None:
        return peak_memory() if self._process is None else int(self._process.memory_info().rss)

    @cached_property
    def _process(self) -> Any:  # noqa: ANN401 - psutil is optional, and so are its types
        return import_module("psutil").Process() if find_spec("psutil") is not None else None

"""Decorate functions, compile them into a plan, run it.

Read in this order: `declare` (what the decorators do), `compiler` (what is checked), `plan` (what you hold),
`scheduler` (which step starts when), `runner` (how it runs), `run` (what you get).
"""

from typing import TYPE_CHECKING

from loguru import logger as _logger

from fusynk import errors
from fusynk._core.backoff import Backoff, backoff
from fusynk._core.batch import Batch
from fusynk._core.current import StepContext, current_step, milestone
from fusynk._core.declare import Graph, layer, process, worker
from fusynk._core.layer import Layer, Override, Process, Worker
from fusynk._core.limits import Limit
from fusynk._core.markers import Artifact, each, use, when
from fusynk._core.model import AttemptRecord, Cancelled, Failed, Outcome, Skipped, Succeeded
from fusynk._core.options import LayerOptions, PlanOptions, WorkerOptions
from fusynk._core.report import Report
from fusynk._core.wiring import PlanInput
from fusynk.blame import run_of
from fusynk.compile import compile_plan
from fusynk.handle import RunHandle
from fusynk.items import Progress, batch_of, run_items
from fusynk.plan import Plan
from fusynk.run import Run

if TYPE_CHECKING:
    from fusynk.journals import SqliteJournal
    from fusynk.manager.manager import Manager

# A library stays silent until its user asks, as loguru recommends: `logger.enable("fusynk")`.
_logger.disable("fusynk")

__all__ = [
    "Artifact",
    "AttemptRecord",
    "Backoff",
    "Batch",
    "Cancelled",
    "Failed",
    "Graph",
    "Layer",
    "LayerOptions",
    "Limit",
    "Manager",
    "Outcome",
    "Override",
    "Plan",
    "PlanInput",
    "PlanOptions",
    "Process",
    "Progress",
    "Report",
    "Run",
    "RunHandle",
    "Skipped",
    "SqliteJournal",
    "StepContext",
    "Succeeded",
    "Worker",
    "WorkerOptions",
    "backoff",
    "batch_of",
    "compile_plan",
    "current_step",
    "each",
    "errors",
    "layer",
    "milestone",
    "process",
    "run_items",
    "run_of",
    "use",
    "when",
    "worker",
]


def __getattr__(name: str) -> object:
    """Load the Manager and the journal for those who use them."""
    if name == "Manager":
        from fusynk.manager.manager import Manager  # noqa: PLC0415 - as said

        return Manager
    if name == "SqliteJournal":
        from fusynk.journals.sqlite import SqliteJournal  # noqa: PLC0415 - as said

        return SqliteJournal
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

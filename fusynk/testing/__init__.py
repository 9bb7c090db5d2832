"""Tools for testing plans: virtual time and reproducible interleavings, on asyncio and trio."""

from fusynk.testing.simulation import Trace, simulate
from fusynk.testing.virtual import NothingLeftToRun, run_virtual

__all__ = ["NothingLeftToRun", "Trace", "run_virtual", "simulate"]

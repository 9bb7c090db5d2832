"""How much memory the process has held."""

import sys


def peak_memory() -> int | None:
    """Return the most memory that this process has held so far, in bytes; `None` where the platform does not tell."""
    try:
        from resource import RUSAGE_SELF, getrusage  # noqa: PLC0415 - not everywhere, and few ask
    except ImportError:
        return None
    held = getrusage(RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024

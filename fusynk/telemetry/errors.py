"""What can go wrong when telemetry is set up; while a plan runs, nothing of it can."""

from fusynk.errors import FusynkError


class TelemetryInUse(FusynkError, RuntimeError):
    """The application has set up OpenTelemetry already, and can do so only once."""


class TelemetryUnavailable(FusynkError, ImportError):
    """A package that was asked for is not installed."""

"""What a measurement may vary."""

from dataclasses import dataclass

BACKENDS = ("asyncio", "trio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much to measure.

    Attributes:
        rounds: Samples for each figure.
        import_rounds: Fresh interpreters for each side of the import figure.
        steps: Size of the graphs.
        large: Size of the graph that growth is measured on.
        order_runs: Runs of the five-step plan in one sample.
        backends: Where plans run.
    """

    rounds: int = 5
    import_rounds: int = 11
    steps: int = 10_000
    large: int = 100_000
    order_runs: int = 200
    backends: tuple[str, ...] = BACKENDS

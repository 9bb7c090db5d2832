"""What fusynk costs, measured against what one would write by hand: `python -m benchmarks`."""

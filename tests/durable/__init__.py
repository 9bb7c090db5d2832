"""Runs that are recorded: what is resumed, what is refused, and what survives."""

"""The root of all errors."""


class FusynkError(Exception):
    """The root of every exception that fusynk raises by itself."""

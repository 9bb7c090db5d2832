"""The root of all errors, and of those that say that another attempt is in vain."""


class FusynkError(Exception):
    """The root of every exception that fusynk raises by itself."""


class Unrepeatable(FusynkError):
    """What another attempt would only do once more; it is not retried, whatever the step says."""

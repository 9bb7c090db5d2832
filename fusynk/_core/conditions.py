"""What the conditions of edges say."""


def is_met(verdict: object) -> bool:
    """Read what a condition returned.

    Raises:
        TypeError: It returned an awaitable, which would count as true whatever it decides.
    """
    if hasattr(verdict, "__await__"):
        close = getattr(verdict, "close", None)
        if close is not None:
            close()
        message = "A condition returned an awaitable; conditions are synchronous. Decide in a layer instead."
        raise TypeError(message)
    return bool(verdict)

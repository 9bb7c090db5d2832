"""What counts as a count and as seconds, whatever was passed."""

import math

from fusynk.errors import InvalidOption, shown


def is_count(value: object) -> bool:
    """Tell whether this is a whole number from 0 up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_positive_count(value: object) -> bool:
    """Tell whether this is a whole number from 1 up."""
    return is_count(value) and value != 0


def is_power_of_ten(count: int) -> bool:
    """Tell whether this count is 1, 10, 100 and so on: how often what may happen again and again is worth a line.

    Args:
        count: A whole number from 0 up.
    """
    return str(count).strip("0") == "1"


def is_seconds(value: object) -> bool:
    """Tell whether this is a finite number from 0 up."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def is_positive_seconds(value: object) -> bool:
    """Tell whether this is a finite number above 0."""
    return is_seconds(value) and value != 0


def check_seconds(caller: str, name: str, value: object, *, positive: bool = False) -> None:
    """Check a number of seconds.

    Args:
        caller: Who is asking, as written: "handle.cancel".
        name: What the argument is called.
        value: The argument.
        positive: Whether 0 is too few.

    Raises:
        InvalidOption: It is no finite number from 0 up.
    """
    accepts = is_positive_seconds if positive else is_seconds
    if not accepts(value):
        wanted = "seconds above 0" if positive else "seconds from 0 up"
        raise InvalidOption(f"{caller}({name}={shown(value)}): {name} must be a number of {wanted}.")

"""The characters that lines are drawn with."""

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
JUNCTION, ARROW, BULLET, LAST_BULLET = range(16, 20)

# A line that leads in some directions is the character at the sum of these; after them the others named above.
LINES = " │││─┘┐┤─└┌├─┴┬┼●▼○■"
ASCII_LINES = " |||-'.*-'.*-'++*vo#"


def lines_in(*, ascii_only: bool) -> str:
    """Return the characters to draw with.

    Args:
        ascii_only: Whether to keep to ASCII.
    """
    return ASCII_LINES if ascii_only else LINES

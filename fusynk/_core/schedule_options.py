"""What a worker may say of its schedule."""

from collections.abc import Callable, Mapping
from typing import cast

from fusynk._core.numbers import is_seconds
from fusynk._core.zones import find_zone, zone_hint
from fusynk.errors import InvalidOption

SHORTEST_INTERVAL = 0.001  # event loops cannot tell less apart
LONGEST_INTERVAL = 3_155_760_000  # a century
LONGEST_CRON = 1000
INTERVAL_WANTED = f"a number of seconds from {SHORTEST_INTERVAL} to {LONGEST_INTERVAL} (a century)"
CRON_WANTED = (
    "a text of five fields, minute, hour, day, month and weekday, "
    'as in "30 4 * * *" for half past four, or of six with seconds before them'
)
ZONE_WANTED = 'an IANA time zone such as "Europe/Berlin" or "UTC"'


def is_interval(value: object) -> bool:
    """Tell whether this can be the time from start to start."""
    return is_seconds(value) and SHORTEST_INTERVAL <= cast("float", value) <= LONGEST_INTERVAL


def is_cron_shaped(value: object) -> bool:
    """Tell whether this has the shape of a cron expression. Whether it is one needs a library that is optional."""
    return isinstance(value, str) and len(value) <= LONGEST_CRON and len(value.split()) in {5, 6}


SCHEDULE_RULES: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("every", lambda v: v is None or is_interval(v), INTERVAL_WANTED),
    ("jitter", is_seconds, "a number of seconds from 0 up"),
    ("cron", lambda v: v is None or is_cron_shaped(v), CRON_WANTED),
    ("timezone", lambda v: v is None or isinstance(v, str), ZONE_WANTED),
)


def check_schedule(decorator: str, given: Mapping[str, object]) -> None:
    """Refuse two schedules at once, and what belongs to a schedule that is not there.

    Args:
        decorator: Who is asking, as written: "@worker".
        given: Its keywords, each of which is allowed by itself.

    Raises:
        InvalidOption: They do not go together, or there is no such time zone.
    """
    every, jitter = cast("float | None", given.get("every")), cast("float", given.get("jitter", 0))
    cron, timezone = given.get("cron"), cast("str | None", given.get("timezone"))
    if every is not None and cron is not None:
        message = f"{decorator}(every={every!r}, cron={cron!r}) has two schedules; give one, or declare two units."
        raise InvalidOption(message)
    if jitter and every is None:
        raise InvalidOption(f"{decorator}(jitter={jitter!r}) counts for nothing; give it with every=.")
    if every is not None and jitter > every:
        message = f"{decorator}(jitter={jitter!r}) is more than every={every!r}; give at most that."
        raise InvalidOption(message)
    if timezone is not None and cron is None:
        raise InvalidOption(f"{decorator}(timezone={timezone!r}) counts for nothing; give it with cron=.")
    if timezone is not None and find_zone(timezone) is None:
        hint = zone_hint(timezone)
        raise InvalidOption(f"{decorator}(timezone={timezone!r}): timezone must be {ZONE_WANTED}.{hint}")

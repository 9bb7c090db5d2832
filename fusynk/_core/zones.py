"""Time zones by their IANA names."""

from datetime import UTC, tzinfo

from fusynk.errors import did_you_mean


def find_zone(name: str) -> tzinfo | None:
    """Return a time zone, or `None` if this system does not know one of that name.

    Args:
        name: As in "Europe/Berlin".
    """
    if name == "UTC":  # it needs no database
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - few units have a time zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_hint(name: str) -> str:
    """Return what else could be meant by a name that is unknown, or an empty string.

    Args:
        name: The name.
    """
    from zoneinfo import available_timezones  # noqa: PLC0415 - only errors need it

    known = sorted(available_timezones())
    return did_you_mean(name, known) if known else " This system has no time zones; pip install tzdata."

"""Calendar periods in the user's own time zone.  Pure: the present comes in as an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

PERIODS: Final = ("day", "week", "month", "year", "all")


def start_of(period: str, now: datetime) -> datetime | None:
    """Return when the current period began, None for `all`.  `now` is an aware time in the user's zone.

    The beginning is found on the calendar, not by subtraction: a day may have 23 or 25 hours.
    """
    today = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match period:
        case "day":
            begin = today
        case "week":
            begin = today - timedelta(days=today.weekday())
        case "month":
            begin = today.replace(day=1)
        case "year":
            begin = today.replace(month=1, day=1)
        case _:
            return None
    if now.tzinfo is not None and now.tzinfo is not UTC and not hasattr(now.tzinfo, "key"):
        # A zone that is only today's offset: ask the system which one held then.
        # By way of the timestamp, since astimezone is an hour off where a change of the clocks skips midnight.
        return datetime.fromtimestamp(begin.replace(tzinfo=None).timestamp(), tz=UTC).astimezone()
    return begin


def window(period: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when the current window of a budget began and when the next begins; None for `total`, which is one."""
    begin = start_of(period, now)
    if begin is None:
        return None, None
    # Well into the next window, whose beginning is then found on the calendar too.
    later = begin + timedelta(days={"day": 1, "week": 7, "month": 31}[period], hours=12)
    return begin, start_of(period, later)


def milliseconds(moment: datetime) -> int:
    """Return UTC milliseconds."""
    return round(moment.timestamp() * 1000)

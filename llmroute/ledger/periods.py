"""Calendar periods, and times that users write, in the user's own time zone.  Pure: the present is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from llmroute.errors import RequestError
from llmroute.ledger.buckets import bucket_start_ms

if TYPE_CHECKING:
    from collections.abc import Callable

# In the year 2286: every calendar still has room before and after.
END_OF_TIME_MS: Final = 10**13
PERIODS: Final = ("day", "week", "month", "year", "all")
# Complete periods before the current one, of these lengths.
CLOSED_PERIODS: Final = {"yesterday": "day", "last-week": "week", "last-month": "month"}
_HOURS = {"h": 1, "d": 24, "w": 168}
_HOUR_MS = 3_600_000


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
    return in_zone_of(now, begin)


def span_of(period: str, now: datetime) -> tuple[datetime | None, datetime]:
    """Return the ends of one of PERIODS, until now, or of one of CLOSED_PERIODS."""
    length = CLOSED_PERIODS.get(period)
    if length is None:
        return start_of(period, now), now
    end = start_of(length, now)
    assert end is not None
    # Into the period before, whose beginning is then found on the calendar too.
    return start_of(length, end - timedelta(hours=12)), end


def in_zone_of(now: datetime, wall: datetime) -> datetime:
    """Return the instant of a local time in the user's zone, with the UTC offset of that day."""
    if _is_offset_only(now):
        # Through the timestamp, because astimezone is an hour off where a clock change skips midnight.
        return datetime.fromtimestamp(wall.replace(tzinfo=None).timestamp(), tz=UTC).astimezone()
    return wall.replace(tzinfo=now.tzinfo)


def clock_of(now: datetime) -> Callable[[int], datetime]:
    """Return a function from UTC milliseconds to local time in the user's zone."""
    zone = None if _is_offset_only(now) else now.tzinfo

    def local(at_ms: int) -> datetime:
        return datetime.fromtimestamp(min(at_ms, END_OF_TIME_MS) / 1000, UTC).astimezone(zone)

    return local


def _is_offset_only(now: datetime) -> bool:
    """Whether the zone is only today's offset, so that the system has to convert other days."""
    return now.tzinfo is not None and now.tzinfo is not UTC and not hasattr(now.tzinfo, "key")


def window(period: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when the current window of a budget began and when the next begins; None for `total`, which is one."""
    begin = start_of(period, now)
    if begin is None:
        return None, None
    # Well into the next window, whose beginning is then found on the calendar too.
    later = begin + timedelta(days={"day": 1, "week": 7, "month": 31}[period], hours=12)
    return begin, start_of(period, later)


def before(period: str, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the span of the period before that is as long as the current one is until now; None before `all`.

    It ends with its period: all of February is what is before the first 31 days of March.  The span before one of
    CLOSED_PERIODS is a complete period too.
    """
    if period in CLOSED_PERIODS:
        end, _ = span_of(period, now)
        assert end is not None
        first = start_of(CLOSED_PERIODS[period], end - timedelta(hours=12))
        assert first is not None
        return first, end
    begin = start_of(period, now)
    if begin is None:
        return None
    first = start_of(period, begin - timedelta(hours=12))
    assert first is not None
    # Compared as milliseconds: within one zone Python compares local times.
    end_ms = min(milliseconds(first) + milliseconds(now) - milliseconds(begin), milliseconds(begin))
    return first, clock_of(now)(end_ms)


def milliseconds(moment: datetime) -> int:
    """Return UTC milliseconds."""
    return round(moment.timestamp() * 1000)


def possible_ms(at_ms: int) -> int:
    """Return a time; one that no clock shows, as of a damaged ledger, becomes the nearest that one shows."""
    return min(max(at_ms, 0), END_OF_TIME_MS)


def utc_time(at_ms: int) -> datetime:
    """Return the datetime in UTC of `possible_ms`."""
    return datetime.fromtimestamp(possible_ms(at_ms) / 1000, UTC)


def ends_ms(since: str | None, until: str | None, now: datetime) -> tuple[int | None, int | None]:
    """Return the ends of a span in milliseconds; None where one is not given.

    Raises:
        RequestError: one of them cannot be parsed, or the span ends before it begins.
    """
    since_ms = None if since is None else _parsed_ms("since", since, now)
    until_ms = None if until is None else _parsed_ms("until", until, now)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise RequestError(f"the span ends before it begins: {since} to {until}")
    return since_ms, until_ms


def moment(option: str, text: str, now: datetime) -> datetime:
    """Parse a span back from now or a local date and time, rounded down to a bucket of the rollups.

    Raises:
        RequestError: it cannot be parsed.
    """
    at_ms = _parsed_ms(option, text, now)
    return clock_of(now)(bucket_start_ms(at_ms))


def _parsed_ms(option: str, text: str, now: datetime) -> int:
    at_ms = _milliseconds(text.strip(), now)
    if at_ms is None or not 0 <= at_ms <= END_OF_TIME_MS:
        from llmroute.text.option_text import OptionText, Remedy

        raise RequestError(
            OptionText(Remedy(option), f": {text!r} is not a time"),
            hint="24h, 7d and 2w are (back from now), and 2026-11-01",
            option=option,
        )
    return at_ms


def _milliseconds(text: str, now: datetime) -> int | None:
    if found := re.fullmatch(r"(\d{1,5})([hdw])", text):
        return milliseconds(now) - int(found[1]) * _HOURS[found[2]] * _HOUR_MS
    try:
        moment = datetime.fromisoformat(text)
        return milliseconds(moment if moment.tzinfo else in_zone_of(now, moment))
    except (ValueError, OverflowError, OSError):
        return None

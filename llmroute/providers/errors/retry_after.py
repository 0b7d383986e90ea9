"""Parses the headers that say when to retry."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_WAIT_S = 3600.0
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


def parse_retry_after(status: int, headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """Return the wait in seconds, 0 to 3600; None if it is absent or malformed.

    Providers send Retry-After with successes too, so it counts on 429 and 5xx alone.  A date is measured from the
    answer's own Date, and from `clock` where it has none.
    """
    if status != 429 and status < 500:  # noqa: PLR2004
        return None
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_WAIT_S)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None:
        seconds = _until(value, headers.get("date"), clock)
    return None if seconds is None else min(max(seconds, 0.0), MAX_WAIT_S)


def parse_should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return the value of `x-should-retry`."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(value: str | None) -> float | None:
    stripped = (value or "").strip()
    return float(stripped) if _NUMBER.fullmatch(stripped) else None


def _until(value: str | None, sent: str | None, clock: Callable[[], float]) -> float | None:
    then = parse_http_date(value)
    if then is None:
        return None
    now = parse_http_date(sent)
    return then - (clock() if now is None else now)


def parse_http_date(value: str | None) -> float | None:
    """Return a date of HTTP as UNIX seconds; None if it is absent or malformed."""
    if not value or ":" not in value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

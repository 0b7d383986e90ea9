"""Lenient access to JSON of providers: a value of the wrong type counts as absent, and only `read` raises."""

from __future__ import annotations

import json
from typing import Any

ABSURD_COUNT = 10**9


def read(text: str | bytes) -> Any:
    """Parse JSON; bytes are UTF-8, and invalid bytes are replaced.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def mapping(value: object) -> dict[str, Any]:
    """Return an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return an array, or an empty one."""
    return value if isinstance(value, list) else []


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of an array."""
    return [entry for entry in items(value) if isinstance(entry, dict)]


def text(value: object) -> str:
    """Return a string, or an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return a number of tokens; None for a value that cannot be one: negative, fractional, too large, a boolean."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= ABSURD_COUNT or value != int(value):
        return None
    return int(value)


def positive(value: object) -> int | None:
    """Return a limit in tokens; zero means no limit and is None."""
    return count(value) or None


def amount(value: object) -> float | None:
    """Return an amount of money; None for a value that cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= ABSURD_COUNT else None


def date(value: object) -> str | None:
    """Return the date of an ISO date or time, YYYY-MM-DD."""
    day = text(value)[:10]
    return day if len(day) == 10 and day[4] == day[7] == "-" and day.replace("-", "").isdecimal() else None  # noqa: PLR2004

"""Tell a person something now and then instead of at every run: the config directory keeps the day of the last time."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from llmroute.files import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def nobody(_text: str) -> None:
    """Take a note that nobody asked for."""


def last_told(memory: Path, today: date) -> date | None:
    """Return the day of the last time; a day that is yet to come was told by a clock that was wrong."""
    try:
        day = date.fromisoformat(memory.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
    return day if day <= today else None


def remember(memory: Path, today: date) -> None:
    """Keep that it was told today; where that cannot be kept it is told again."""
    with suppress(OSError):
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(memory, f"{today.isoformat()}\n".encode())


def tell_daily(memory: Path, today: date, note: Callable[[str], None], text: str) -> None:
    """Tell `note`, unless that was done today; what nobody hears was not told."""
    if note is not nobody and last_told(memory, today) != today:
        note(text)
        remember(memory, today)

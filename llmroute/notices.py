"""Notices that are shown once a day or once a week: a file in the config directory keeps the day of the last one."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from llmroute.files import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def discard(_text: str) -> None:
    """Ignore a notice."""


def last_shown(path: Path, today: date) -> date | None:
    """Return the day of the last notice; None where there is none, or a wrong clock dated it in the future."""
    try:
        day = date.fromisoformat(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
    return day if day <= today else None


def record_shown(path: Path, today: date) -> None:
    """Record that the notice was shown today; it is shown again if the file cannot be written."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(path, f"{today.isoformat()}\n".encode())


def notify_daily(path: Path, today: date, note: Callable[[str], None], text: str) -> None:
    """Pass the text to `note` unless that was done today; a discarded notice does not count as shown."""
    if note is not discard and last_shown(path, today) != today:
        note(text)
        record_shown(path, today)

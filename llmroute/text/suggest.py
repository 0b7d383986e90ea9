"""Suggestions for mistyped names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def nearest(written: str, words: Iterable[str]) -> str | None:
    """Return the most similar word, case-sensitive, or None where none is similar."""
    # Imported only after a mistyped name.
    from difflib import get_close_matches

    return next(iter(get_close_matches(written, [*words], n=1)), None)


def alternatives(names: Sequence[str]) -> str:
    """Return one or more names as text: `a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

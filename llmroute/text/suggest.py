"""Which of some words was nearly written: what "did you mean" offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(written: str, words: Iterable[str]) -> str | None:
    """Return the word that is written most like this one, None where none nearly is.

    Upper and lower case differ: bring both to one where that is not meant.
    """
    # Only who has mistyped something waits for it.
    from difflib import get_close_matches

    return next(iter(get_close_matches(written, [*words], n=1)), None)

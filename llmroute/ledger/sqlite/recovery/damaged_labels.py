"""Match labels with damaged bytes to the labels that they were."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmroute.ledger.sqlite.recovery.page_reader import Value

# The replacement of a byte that is not text.
_WRONG: Final = "\ufffd"
# Wrong bytes, and what beside and among them may be of the same character: a byte of it can have become ASCII.
_SPOT: Final = re.compile("([\0-\x7f]?)(\ufffd+(?:[\0-\x7f]\ufffd+)?)([\0-\x7f]?)")


def is_mangled(row: dict[str, Value], labels: Sequence[str]) -> bool:
    """Whether a label of a row has a byte that is no text."""
    return any(_WRONG in str(row.get(name)) for name in labels)


def restored(row: dict[str, Value], labels: Sequence[str], known: Iterable[dict[str, Value]]) -> dict[str, Value]:
    """Return a row with the labels of the first known one that it was before bytes changed; as it is where none fits.

    A character of a known label stands for each wrong byte, or one that is not ASCII for several and for ASCII next to
    them; all other characters, and all other labels, are equal.
    """
    patterns = [_pattern(_text(row, name)) for name in labels]
    for one in known:
        texts = [_text(one, name) for name in labels]
        if all(pattern.fullmatch(text) for pattern, text in zip(patterns, texts, strict=True)):
            return row | {name: one[name] for name in labels if _WRONG in _text(row, name)}
    return row


def _text(row: dict[str, Value], name: str) -> str:
    value = row[name]
    return "" if value is None else str(value)


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of the labels that may have been there before bytes changed."""
    found, at = "", 0
    for spot in _SPOT.finditer(text):
        before, wrong, after = map(re.escape, spot.groups())
        each, one = wrong.replace(_WRONG, "."), r"[^\0-\x7f]"
        found += re.escape(text[at : spot.start()])
        found += f"(?:{before}{each}{after}|(?:{before})?{one}(?:{after})?)"
        at = spot.end()
    return re.compile(found + re.escape(text[at:]), re.DOTALL)

"""Labels in which a byte is wrong: a row or a sum that has one is still the row or the sum that it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmroute.ledger.pages import Value

# What a byte is read as that is no text.
_WRONG: Final = "\ufffd"


def is_mangled(row: dict[str, Value], labels: Sequence[str]) -> bool:
    """Whether a label of a row has a byte that is no text."""
    return any(_WRONG in str(row.get(name)) for name in labels)


def restored(row: dict[str, Value], labels: Sequence[str], known: Iterable[dict[str, Value]]) -> dict[str, Value]:
    """Return a row with the labels of the first known one that it was before bytes changed; as it is where none fits.

    A character of a known label stands for each wrong byte; all other characters, and all other labels, are equal.
    """
    patterns = [re.compile(".".join(map(re.escape, _text(row, name).split(_WRONG))), re.DOTALL) for name in labels]
    for one in known:
        told = [_text(one, name) for name in labels]
        if all(pattern.fullmatch(text) for pattern, text in zip(patterns, told, strict=True)):
            return row | {name: one[name] for name in labels if _WRONG in _text(row, name)}
    return row


def _text(row: dict[str, Value], name: str) -> str:
    value = row[name]
    return "" if value is None else str(value)

"""CSV cells that are safe to open in a spreadsheet."""

from __future__ import annotations

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless_cell(value: Any) -> Any:
    """Return a value as a cell: text that a spreadsheet would take for a formula gets an apostrophe before it.

    The writers of `csv` put no quotes round a carriage return, which readers take for the end of a row.
    """
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(_FORMULA) else "") + value.replace("\r", " ")

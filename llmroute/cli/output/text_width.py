"""How many columns of a terminal a text takes: East Asian letters and emoji take two, marks on letters none."""

from __future__ import annotations


def cells(text: str) -> int:
    """Return the columns that `text` takes; how wide each letter is, rich knows."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def left(text: str, width: int) -> str:
    """Return the text with blanks to its right, up to `width` columns."""
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    """Return the text with blanks to its left, up to `width` columns."""
    return " " * (width - cells(text)) + text


def cut(text: str, width: int) -> str:
    """Return as much of the text as fits into `width` columns, and a mark where that is not all."""
    if cells(text) <= width:
        return text
    kept = text
    while kept and cells(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…" if width > 0 else ""


def wrapped(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width` columns, broken at blanks, and in a word only where none fits."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if cells(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines

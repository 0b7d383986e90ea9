"""JSON as its standard has it: no NaN, no key twice, no half characters; and the one document in an answer.

Numbers are written as they were read.
"""

from __future__ import annotations

import json
import re
from typing import Any

_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})[ \t]*[\w+.-]*[ \t]*")
MOST_SHOWN = 60
_encode = json.JSONEncoder(ensure_ascii=False).encode


class _ReadFloat(float):
    """A number and its text: `1.50` and `12345678901234567890.1` are others as Python writes them."""

    text: str


class _ReadInt(int):
    """A whole number and its text: `-0` is another as Python writes it."""

    text: str


def parse(text: str) -> Any:
    """Return the value of JSON text.

    Raises:
        ValueError: the text is no JSON; the message says what is wrong and where.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_float, parse_int=_int)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def parse_answer(text: str) -> Any:
    """Return the value of the one JSON document that an answer is, or that it has in a fenced block.

    Raises:
        ValueError: there is none, or more than one.
    """
    plain = text.removeprefix("\ufeff").strip()
    try:
        return parse(plain)
    except ValueError:
        blocks = fenced_blocks(plain)
        if not blocks:
            raise
    if len(blocks) > 1:
        raise ValueError(f"there are {len(blocks)} fenced blocks in place of one JSON document")
    return parse(blocks[0].strip())


def fenced_blocks(text: str) -> list[str]:
    """Return the contents of the fenced blocks of a Markdown text; the end of the text ends a block too."""
    if (whole := re.fullmatch(r"(`{3,})(?:json)?([^`\n]*)\1", text)) is not None:
        return [whole[2]]
    blocks: list[str] = []
    fence: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        if fence is None:
            if opened := _FENCE.fullmatch(line.rstrip()):
                fence, lines = opened[1], []
        elif bare.startswith(fence) and not bare.strip(fence[0]):
            blocks.append("\n".join(lines))
            fence = None
        else:
            lines.append(line)
    return blocks if fence is None else [*blocks, "\n".join(lines)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:MOST_SHOWN]!r} is repeated in an object")
        found[name] = value
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _float(digits: str) -> float:
    value = _ReadFloat(digits)
    if value in (float("inf"), float("-inf")):
        raise _too_large(digits)
    value.text = digits
    return value


def _int(digits: str) -> int:
    try:
        value = _ReadInt(digits)
    except ValueError:
        raise _too_large(digits) from None
    value.text = digits
    return value


def _too_large(digits: str) -> ValueError:
    return ValueError(f"the number {digits[:MOST_SHOWN]} is too large")


def written(value: Any) -> str:
    """Return the compact JSON text of a value that was read, or of parts of one."""
    parts = []
    # Loops, because comprehensions would halve the depth that the limit of recursion allows.
    if isinstance(value, dict):
        for name, part in value.items():
            parts.append(f"{_encode(name)}:{written(part)}")
        return f"{{{','.join(parts)}}}"
    if isinstance(value, list):
        for part in value:
            parts.append(written(part))  # noqa: PERF401
        return f"[{','.join(parts)}]"
    return value.text if isinstance(value, _ReadFloat | _ReadInt) else _encode(value)

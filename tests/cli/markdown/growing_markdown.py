"""Markdown that grows: long blocks, documents drawn at random, and how they are to stand in the end."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import markdown_it
from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment, Segments

from llmroute.cli.output.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 24
LINES = 300
BLOCKS = {
    "fenced code": "```python\n" + "".join(f"x{number} = {number}\n" for number in range(LINES)) + "```\n\nend\n",
    "an unclosed fence": "```python\n" + "".join(f"x{number} = {number}\n" for number in range(LINES)),
    "a list": "".join(f"- item {number}\n" for number in range(LINES)),
    "a loose list": "".join(f"{number}. item\n\n     more\n\n" for number in range(LINES)),
    "nested lists": "".join(f"{'  ' * (number % 4)}- item {number}\n" for number in range(LINES)),
    "code in a list": "1. do\n\n   ```py\n" + "   x = 1\n" * LINES + "   ```\n2. done\n",
    "a table": "| a | b |\n|---|---|\n" + "".join(f"| {number} | b |\n" for number in range(LINES)),
    "a table without outer bars": "a | b\n--|--\n" + "".join(f"{number} | b\n" for number in range(LINES)),
    "a quote": "> a line\n" * LINES,
    "a paragraph of one line": "some words and " * (30_000 // 15),
    "a paragraph of many lines": "a line of a poem\n" * LINES,
    "wide letters": "日本語の文字 " * 1_000,
    "no blank at all": "x" * 30_000,
    "ends of line with a carriage return": "- item\r\n" * LINES,
    "blank lines": "\n" * LINES,
    "what looks like lists and is none": "text\n" + "2. x\n" * LINES,
    "short blocks": "# head\ntext\n\n- one\n- two\n\n" * 100,
    "a steady change of lists": "- a\n* b\n+ c\n" * 100,
}


def pieces_of(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def last_block(text: str) -> int:
    tokens = markdown_it.MarkdownIt().enable("table").parse(text)
    line = max((token.map[0] for token in tokens if token.level == 0 and token.map), default=0)
    return sum(len(ended) + 1 for ended in text.split("\n")[:line])


def laid_out(pieces: list[str], *, columns: int = 80) -> str:
    """Return what is to stand in the end: all but the last block laid out after each piece that ends a line."""
    console = Console(file=io.StringIO(), width=columns, force_terminal=False, color_system=None, _environ={})
    chunks, text = [], ""
    for piece in pieces:
        text += harmless(piece)
        at = last_block(text) if "\n" in piece else 0
        chunks.append(text[:at])
        text = text[at:]
    for number, chunk in enumerate(chunk for chunk in (*chunks, text) if chunk.strip()):
        lines = console.render_lines(Markdown(chunk, hyperlinks=False), pad=False)
        while lines and not any(segment.text.strip() for segment in lines[0]):
            del lines[0]
        if number:
            console.print()
        console.print(Segments([part for line in lines for part in (*line, Segment.line())]), end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def documents(count: int) -> Iterator[str]:
    chance = random.Random(7)
    words = ["the", "word", "**bold**", "and `code`", "of *it*", "[link](http://x.y)", "日本語", "naïve", "x_y", "1.5"]

    def some(most: int) -> str:
        return " ".join(["The", *chance.choices(words, k=chance.randint(1, most))])

    def block() -> str:
        few = range(chance.randint(1, 12))
        return chance.choice(
            [
                some(40),
                "\n".join(some(9) for _ in few),
                f"{'#' * chance.randint(1, 4)} {some(3)}",
                "\n".join(f"{'  ' * chance.randint(0, 2)}- {some(5)}" for _ in few),
                "\n".join(f"{number}. {some(5)}" for number in few),
                "\n\n".join(f"{number}. {some(4)}\n\n    {some(4)}" for number in few),
                "```py\n"
                + "\n".join(chance.choice(["x = 1", "", "# no", "- y", "| z |", "~~~"]) for _ in few)
                + "\n```",
                "| a | b |\n|---|:-:|\n" + "\n".join(f"| {some(2)} | 1 |" for _ in few),
                "\n".join(f"> {some(4)}" for _ in few),
                "1. do\n\n   ```py\n   x = 1\n\n   y\n   ```\n2. done",
                "---",
                "    x = 1\n    y = 2",
                "<details>\nmore\n</details>",
            ]
        )

    for _ in range(count):
        blocks = [block() for _ in range(chance.randint(1, 9))]
        yield "".join(one + chance.choice(["\n\n", "\n\n", "\n", "\n\n\n"]) for one in blocks).rstrip("\n" * 2)

"""Markdown as it grows: all of it stands in the end, and no line costs more than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.cli.markdown.blocks import Blocks
from llmroute.cli.markdown.live import MarkdownWriter
from tests.cli.markdown.growing_markdown import BLOCKS, documents, laid_out, pieces_of

if TYPE_CHECKING:
    import io

# Nothing can follow their last block, or it is made so that it would be parsed too often to know at once.
WITHOUT_END = {"fenced code", "an unclosed fence", "blank lines", "what looks like lists and is none"}


@pytest.mark.parametrize("size", [1, 5, 40, 1_000_000])
def test_what_is_printed_is_what_a_parse_after_each_line_would_have_printed(size: int, screen: io.StringIO) -> None:
    for text in documents(25):
        pieces = pieces_of(text, size)
        writer = MarkdownWriter("never")
        for piece in pieces:
            writer.write(piece)
        writer.end()
        assert screen.getvalue() == laid_out(pieces), pieces
        screen.seek(0)
        screen.truncate()


def test_blocks_that_were_found_late_are_printed_as_those_that_were_found_at_once(screen: io.StringIO) -> None:
    pieces = [f"{line}\n" for line in ("text", *["2. x"] * 200, "", *["# head", "text", ""] * 20)]
    blocks = Blocks()
    assert max(len(blocks.add(piece)) for piece in pieces) > 4, "too much had been parsed to look for each at once"
    writer = MarkdownWriter("never")
    for piece in pieces:
        writer.write(piece)
    writer.end()
    assert screen.getvalue() == laid_out(pieces)


@pytest.mark.usefixtures("screen", "by_hand")
@pytest.mark.parametrize("color", ["never", "always"])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_text_is_parsed_a_few_times_however_long_its_blocks_are(name: str, color: str, parsed: list[int]) -> None:
    writer = MarkdownWriter(color)
    for letter in BLOCKS[name]:
        writer.write(letter)
    writer.end()
    assert sum(parsed) <= 6 * len(BLOCKS[name])


@pytest.mark.parametrize("name", sorted(BLOCKS.keys() - WITHOUT_END))
def test_a_block_is_whole_as_soon_as_another_begins(name: str) -> None:
    blocks = Blocks()
    for piece in pieces_of(BLOCKS[name], 9):
        blocks.add(piece)
    assert "".join(blocks.add("\n\nA paragraph.\n"))
    assert blocks.end() == ["A paragraph.\n"]


def test_code_is_whole_when_its_fence_is_closed_and_something_follows() -> None:
    blocks = Blocks()
    for piece in pieces_of(BLOCKS["an unclosed fence"], 9):
        assert blocks.add(piece) == []
    assert blocks.add("```\n") == []
    assert blocks.add("more\n") == [f"{BLOCKS['an unclosed fence']}```\n"]

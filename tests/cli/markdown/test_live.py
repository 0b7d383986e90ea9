"""The end of a Markdown block that is being written: it is shown as it will stand, within the screen, and goes away."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.markdown import live
from llmroute.cli.markdown.live import MarkdownWriter
from tests.cli.markdown.growing_markdown import BLOCKS, ROWS, documents, laid_out, pieces_of
from tests.support.emulated_terminal import EmulatedTerminal

if TYPE_CHECKING:
    import io


def refresh(writer: MarkdownWriter) -> None:
    assert writer._growing is not None
    writer._growing.refresh()


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("screen", [20, 80], indirect=True)
def test_what_was_shown_for_the_time_being_leaves_nothing_behind(
    screen: io.StringIO, request: pytest.FixtureRequest
) -> None:
    columns = request.node.callspec.params["screen"]
    for text in [*documents(6), *(block[:900] for block in BLOCKS.values())]:
        pieces = pieces_of(text, 11)
        writer = MarkdownWriter("always")
        for number, piece in enumerate(pieces):
            writer.write(piece)
            if number % 19 == 0 or number == len(pieces) - 1:
                refresh(writer)
        writer.end()
        terminal = EmulatedTerminal(columns, ROWS)
        terminal.write(screen.getvalue())
        expected = [line.rstrip() for line in laid_out(pieces, columns=columns).split("\n")]
        assert "\n".join(terminal.lines).rstrip() == "\n".join(expected).rstrip(), pieces
        screen.seek(0)
        screen.truncate()


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("screen", [20, 80], indirect=True)
@pytest.mark.parametrize("name", BLOCKS)
def test_a_refresh_costs_no_more_than_the_screen_has_room_for(
    name: str, screen: io.StringIO, parsed: list[int], request: pytest.FixtureRequest
) -> None:
    columns = request.node.callspec.params["screen"]
    writer = MarkdownWriter("always")
    for number, piece in enumerate(pieces_of(BLOCKS[name], 7)):
        writer.write(piece)
        if number % 500 == 0:
            parsed.clear()
            shown_to = screen.tell()
            refresh(writer)
            assert sum(parsed) <= 2 * ROWS * columns
            assert screen.tell() - shown_to <= 50 * ROWS * columns
    writer.end()


def shown(text: str, screen: io.StringIO, columns: int = 80) -> list[str]:
    """Return what is on the screen when so much of a text has come."""
    writer = MarkdownWriter("always")
    for piece in pieces_of(text, 3):
        writer.write(piece)
    refresh(writer)
    terminal = EmulatedTerminal(columns, ROWS)
    terminal.write(screen.getvalue())
    assert len(terminal.lines) <= ROWS, "what has left the screen cannot be taken back"
    writer.end()
    return [line.strip() for line in terminal.screen]


@pytest.mark.usefixtures("by_hand")
def test_the_end_of_a_long_block_is_shown_below_a_mark_that_more_stands_above(screen: io.StringIO) -> None:
    code = "```python\n" + "".join(f"x{number} = '''\n" for number in range(100)) + "x100 = - 1"
    first, *lines = shown(code, screen)
    assert first == "..."
    assert [line for line in lines if line] == [
        *(f"x{number} = '''" for number in range(100 - len(lines) + 2, 100)),
        "x100 = - 1",
    ]


@pytest.mark.usefixtures("by_hand")
def test_a_short_block_is_shown_whole_and_without_a_mark(screen: io.StringIO) -> None:
    assert [line for line in shown("- one\n- **tw", screen) if line] == ["• one", "• **tw"]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("- a\n  - b\n" + "".join(f"    - {number}\n" for number in range(99)), "• 98"),
        ("1. do\n\n   ```py\n" + "   - x\n\n" * 99, "- x"),
        ("| head | b |\n|---|---|\n" + "".join(f"| {number} | b |\n" for number in range(99)), "98 b"),
        ("> " + "some words and " * 9_000 + "the end", "the end"),
        ("12. " + "some words and " * 9_000 + "the end", "the end"),
        ("日本語の文字" * 9_000 + "終", "終"),
        ("x" * 9_000 + "y", "y"),
    ],
)
def test_the_end_of_a_block_is_laid_out_as_it_will_be_in_the_whole(text: str, last: str, screen: io.StringIO) -> None:
    lines = [line for line in shown(text, screen) if line]
    assert " ".join(lines[-1].split()).endswith(last), lines
    assert not any(line.startswith(("```", "|--")) for line in lines)


@pytest.mark.usefixtures("by_hand")
def test_nothing_is_written_while_nothing_changes(screen: io.StringIO) -> None:
    writer = MarkdownWriter("always")
    writer.write("some words")
    refresh(writer)
    written = screen.getvalue()
    assert "some words" in written
    refresh(writer)
    assert screen.getvalue() == written
    writer.end()


def test_what_has_come_is_shown_while_nothing_more_comes(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESHES_PER_S", 100)
    writer = MarkdownWriter("always")
    writer.write("some words")
    waiting = threading.Event()
    for _ in range(1_000):
        if "some words" in screen.getvalue():
            break
        waiting.wait(0.01)
    assert "some words" in screen.getvalue()
    writer.end()

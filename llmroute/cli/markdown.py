"""Markdown on a terminal: what is whole stands for good, and the block that is being written is shown as it grows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from llmroute.cli.terminal import fancy, harmless, width

if TYPE_CHECKING:
    from rich.live import Live
    from rich.markdown import Markdown

REFRESHES_PER_S = 8


class MarkdownWriter:
    """Shows an answer as Markdown.  Without colours it is laid out all the same, and not one escape is written."""

    def __init__(self, color: str = "auto") -> None:
        from rich.console import Console

        self._fancy = fancy(color)
        self._console = Console(
            file=sys.stdout,
            force_terminal=self._fancy,
            color_system="standard" if self._fancy else None,
            no_color=False,
            legacy_windows=False,
            width=width(),
            _environ={},
        )
        self._text = ""
        self._begun = False
        self._live: Live | None = None

    def write(self, piece: str) -> None:
        """Show the answer with this piece in it."""
        self._text += harmless(piece)
        at = _last_block(self._text) if "\n" in piece else 0
        settled, self._text = self._text[:at], self._text[at:]
        if self._fancy:
            self._show(self._text)
        self._settle(settled)

    def end(self) -> None:
        """Leave the answer on the screen."""
        if self._live is not None:
            self._show("")
            self._live.stop()
            self._live = None
        self._settle(self._text)
        self._text = ""

    def _show(self, text: str) -> None:
        if self._live is None:
            from rich.live import Live

            # It goes away when it is settled, so it must not be longer than the screen, which cannot be taken back.
            self._live = Live(
                console=self._console, transient=True, vertical_overflow="ellipsis", refresh_per_second=REFRESHES_PER_S
            )
            self._live.start()
            # Who is interrupted keeps a terminal with a cursor.
            self._console.show_cursor(show=True)
        self._live.update(_rendered(text))

    def _settle(self, text: str) -> None:
        """Print blocks that will not change any more, a blank line before each but the first."""
        if not text.strip():
            return
        lines = self._console.render_lines(_rendered(text), pad=False)
        while lines and not any(segment.text.strip() for segment in lines[0]):
            del lines[0]
        if self._begun:
            self._console.print()
        self._begun = True
        from rich.segment import Segment, Segments

        self._console.print(Segments([part for line in lines for part in (*line, Segment.line())]), end="")


def _rendered(text: str) -> Markdown:
    """Return the text as Markdown; the address of a link is shown, not hidden behind its words."""
    from rich.markdown import Markdown

    return Markdown(text, hyperlinks=False)


def _last_block(text: str) -> int:
    """Return where the last block begins: all before it is whole."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt().enable("table").parse(text)
    first_line = max((token.map[0] for token in tokens if token.level == 0 and token.map), default=0)
    return sum(map(len, text.splitlines(keepends=True)[:first_line]))

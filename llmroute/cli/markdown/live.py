"""Markdown on a terminal: complete blocks are final, and the end of the block that is being written is redrawn."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from llmroute.cli.markdown.blocks import Blocks
from llmroute.cli.output.terminal import fancy, harmless, rich_console, width

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown
    from rich.segment import Segment

    from llmroute.types import LLMResponse

REFRESHES_PER_S = 8


class MarkdownWriter:
    """Shows an answer as Markdown.  Without colors it is laid out in the same way, and no escape is written.

    A block is printed when it is complete.  Until then its received part is laid out a few times a second, as far as
    the screen has room for it.
    """

    def __init__(self, color: str = "auto") -> None:
        self._fancy = fancy(color)
        self._console = rich_console(sys.stdout, width(), color=self._fancy)
        self._blocks = Blocks()
        self._begun = False
        self._growing: _Growing | None = None

    def write(self, piece: str) -> None:
        """Add a piece to the answer and show it."""
        if self._growing is None:
            self._add(piece)
            if self._fancy:
                self._growing = _Growing(self._console, self._blocks)
        else:
            with self._growing.unchanging:
                self._growing.changed = True
                self._add(piece)

    def end(self, _response: LLMResponse | None = None) -> None:
        """Leave the answer on the screen."""
        if self._growing is None:
            chunks = self._blocks.end()
        else:
            with self._growing.unchanging:
                chunks = self._blocks.end()
                self._growing.end()
            self._growing = None
        for chunk in chunks:
            self._settle(chunk)

    def _add(self, piece: str) -> None:
        for chunk in self._blocks.add(harmless(piece)):
            self._settle(chunk)

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


class _Growing:
    """The end of the incomplete blocks, shown below the complete ones until these are printed.

    It is never longer than the screen, because text that has scrolled off the screen cannot be erased.  `unchanging` is
    locked while the blocks change, which `changed` reports, and during any output to the same console.
    """

    def __init__(self, console: Console, blocks: Blocks) -> None:
        from rich.live import Live

        self.unchanging = threading.Lock()
        self.changed = True
        self._blocks = blocks
        self._lines: list[list[Segment]] = []
        self._live = Live(self, console=console, transient=True, auto_refresh=False)
        self._live.start()
        # An interrupted process leaves a terminal with a cursor.
        console.show_cursor(show=True)
        self._ended = threading.Event()
        threading.Thread(target=self._refresh, daemon=True).start()

    def end(self) -> None:
        """Erase the preview from the screen."""
        self.changed = True
        self._ended.set()
        self._live.stop()

    def refresh(self) -> None:
        """Redraw the preview if it has changed."""
        with self.unchanging:
            if self.changed and not self._ended.is_set():
                self._live.refresh()

    def _refresh(self) -> None:
        while not self._ended.wait(1 / REFRESHES_PER_S):
            self.refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        if self.changed:
            self._lines = self._laid_out(console, options)
            self.changed = False
        for line in self._lines:
            yield from line
            yield Segment.line()

    def _laid_out(self, console: Console, options: ConsoleOptions) -> list[list[Segment]]:
        from rich.text import Text

        height = options.size.height
        text, more = self._blocks.tail(height, options.max_width)
        lines = console.render_lines(_rendered(text), options, pad=False)
        if not more and len(lines) <= height:
            return lines
        above = Text("...", style="live.ellipsis", justify="center", overflow="crop")
        return [*console.render_lines(above, options, pad=False), *lines[-max(height - 1, 1) :]]


def _rendered(text: str) -> Markdown:
    """Return the text as Markdown; the address of a link is shown, not hidden behind its words."""
    from rich.markdown import Markdown

    return Markdown(text, hyperlinks=False)

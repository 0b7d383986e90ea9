"""The line that says how far something is: on a terminal what the kept screens show, elsewhere nothing.

`python -m tests.cli.output.test_progress` keeps them anew.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from llmroute.cli.output.progress import ProgressState, advance, facts, new_progress
from llmroute.cli.output.tables import rendered
from tests.support.pseudo_terminal import run_on_terminal, without_escapes
from tests.support.shell import environment

KEPT = Path(__file__).with_name("screens")
SIZES = ((80, 24), (200, 50))
# A batch and a pull at fixed moments; what is drawn over what stands on a line of its own.
AT_MOMENTS = """
import sys
from llmroute.cli.output.progress import Bar, ProgressState
from llmroute.cli.errors import say
now_s = 0
with Bar(quiet=sys.argv[1:] == ["-q"], clock=lambda: now_s) as bar:
    def show(at_s, *values, **fields):
        global now_s
        now_s = at_s
        bar.show(ProgressState(*values, **fields))
    show(0, "batch", 0, 10_000, cost_usd=0.0, budget_usd=5)
    show(0.05, "batch", 1, 10_000, cost_usd=0.001, budget_usd=5)
    show(10, "batch", 420, 10_000, failed=3, cost_usd=0.0312, budget_usd=5)
    say("a note stands alone")
    show(20, "batch", 840, 10_000, failed=3, cost_usd=0.0625, budget_usd=5)
    show(60, "batch", 9_240, 10_000, failed=12, cost_usd=0.61, budget_usd=5)
    show(70, "pulling\\x1b[2J 模型", 0, 4_200_000_000, "bytes")
    show(80, "pulling\\x1b[2J 模型", 1_000_000_000, 4_200_000_000, "bytes")
    show(83, "prices", 300_000, None, "bytes")
"""


def shown(columns: int, lines: int, home: Path, *arguments: str, **settings: str) -> str:
    code = (sys.executable, "-c", AT_MOMENTS)
    seen = run_on_terminal(*arguments, home=home, columns=columns, lines=lines, command=code, **settings)
    assert seen.code == 0, seen.text
    return seen.text.replace("\r", "\n")


def kept(columns: int, lines: int) -> Path:
    return KEPT / f"bar-{columns}x{lines}.txt"


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_terminal_shows_the_kept_bars_and_no_escape_of_a_label(columns: int, lines: int, tmp_path: Path) -> None:
    text = shown(columns, lines, tmp_path)
    assert text.replace("\x1b", "^[") == kept(columns, lines).read_text(encoding="utf-8")
    assert "\x1b[2J" not in text
    assert max(map(cell_len, without_escapes(text).splitlines())) < columns
    assert text.endswith("\x1b[?25h\n\x1b[1A\x1b[2K"), "the line is removed at the end, and the cursor is visible"


# Draws a bar, waits until it may go on, and draws another.
AROUND_A_RESIZE = """
import itertools
import sys
from llmroute.cli.output.progress import Bar, ProgressState
moments = itertools.count()
with Bar(clock=lambda: next(moments)) as bar:
    bar.show(ProgressState("batch", 500, 1_000, failed=3, cost_usd=0.0312, budget_usd=5))
    sys.stdin.readline()
    bar.show(ProgressState("batch", 600, 1_000, failed=3, cost_usd=0.0312, budget_usd=5))
"""


@pytest.mark.parametrize(("columns", "asked", "wide"), [(80, "40", 40), (80, "200", 80), (80, "none", 80)])
def test_no_bar_is_wider_than_columns_or_the_terminal(columns: int, asked: str, wide: int, tmp_path: Path) -> None:
    text = shown(columns, 24, tmp_path, COLUMNS=asked)
    assert wide - 20 < max(map(cell_len, without_escapes(text).splitlines())) < wide


def test_a_bar_heeds_the_width_that_the_terminal_has_got_meanwhile(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    try:
        resize(master, 100)
        command = [sys.executable, "-c", AROUND_A_RESIZE]
        process = subprocess.Popen(command, env=environment(tmp_path), stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        before = b""
        while not before.endswith(b"$5.00"):
            before += os.read(master, 4096)
        resize(master, 30)
        os.write(master, b"\n")
        after = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(master, 4096):
                after += piece
        assert process.wait(30) == 0
    finally:
        os.close(master)
    assert 60 < cell_len(without_escapes(before.decode()).strip("\r")) < 100
    drawn = [part for part in without_escapes(after.decode()).replace("\n", "\r").split("\r") if part]
    assert any("600" in part for part in drawn)
    assert max(map(cell_len, drawn)) < 30


def resize(master: int, columns: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def test_nothing_is_drawn_when_it_is_to_be_quiet_or_the_terminal_cannot(tmp_path: Path) -> None:
    assert shown(80, 24, tmp_path, "-q") == "llmroute: a note stands alone\n"
    assert shown(80, 24, tmp_path, TERM="dumb") == "llmroute: a note stands alone\n"


def test_the_rate_and_the_time_left_are_those_of_the_last_half_minute() -> None:
    text = facts(ProgressState("batch", 900, 1_000, failed=2, cost_usd=0.5, budget_usd=2), 0.5)
    assert text == " 90%  900 of 1,000 · 2 failed · 30/min · $0.5000 of $2.00 · 03:20 left"
    assert facts(ProgressState("batch", 0, 86_400), 2.0).endswith("12:00:00 left")
    assert "left" not in facts(ProgressState("batch", 9, 10), None)


@given(
    st.builds(
        ProgressState,
        st.text(max_size=60),
        st.integers(0, 10**15),
        st.none() | st.integers(0, 10**15),
        st.sampled_from(("items", "bytes")),
        st.integers(0, 10**9),
        st.none() | st.floats(0, 1e6),
        st.none() | st.floats(0, 1e6),
    ),
    st.integers(1, 250),
)
@example(ProgressState("\xad", 0), 1)
def test_no_line_is_wider_than_it_may_be(progress: ProgressState, columns: int) -> None:
    display = new_progress(lambda: 0.0)
    advance(display, progress)
    text = rendered([display], columns)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert cell_len(text.rstrip("\n")) <= columns


if __name__ == "__main__":
    import tempfile

    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            kept(*size).write_text(shown(*size, Path(folder)).replace("\x1b", "^["), encoding="utf-8")

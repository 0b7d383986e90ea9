"""Run the program on a terminal of 80 columns and 24 lines unless told otherwise, as a person does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.shell import LLMROUTE, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """What stood on the terminal, stdout and stderr together, its ends of line as plain newlines."""

    code: int
    text: str


def run_on_terminal(
    *arguments: str,
    home: Path,
    typed: str = "",
    columns: int = 80,
    lines: int = 24,
    command: Sequence[str] = LLMROUTE,
    **settings: str,
) -> Seen:
    """Run `command` with all three streams on a pseudo-terminal; `typed` is typed ahead."""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = environment(home, **{"TERM": "xterm-256color", **settings})
        process = subprocess.Popen([*command, *arguments], env=env, cwd=home, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        if typed:
            os.write(master, typed.encode())
        shown = bytearray()
        try:
            while piece := os.read(master, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        return Seen(process.wait(30), shown.decode().replace("\r\n", "\n"))
    finally:
        os.close(master)


def without_escapes(text: str) -> str:
    """Return the text without colors and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

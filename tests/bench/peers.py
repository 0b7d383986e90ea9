"""Programs of others that a bench measures beside ours, each installed into a throw-away environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class MissingError(Exception):
    """A peer could not be installed; the message says why."""


def install(package: str, folder: Path) -> Path:
    """Install a package into a new environment in `folder`; return its folder of programs.

    Raises:
        MissingError: there is no registry to be had, or it has no such package.
    """
    place = folder / f"peer-{package}"
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            raise MissingError(f"{package} could not be installed: {said[-1][:120]}")
    return programs

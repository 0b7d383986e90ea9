"""Install other programs that a benchmark compares with, each in a temporary environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class NotInstalledError(Exception):
    """A package could not be installed; the message says why."""


def install(package: str, folder: Path) -> Path:
    """Install a package in a new environment in `folder`; return the folder of its programs.

    Raises:
        NotInstalledError: no registry can be reached, or it does not have the package.
    """
    place = folder / f"environment-{package}"
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            raise NotInstalledError(f"{package} could not be installed: {said[-1][:120]}")
    return programs

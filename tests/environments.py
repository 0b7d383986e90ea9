"""Environments that have llmroute and what it needs, but not every package that the tests' own has."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path


def environment_without(folder: Path, *packages: str) -> Path:
    """Make an environment in `folder` with everything that is installed here but the packages; return its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    (its_own,) = (folder / "lib").glob("python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        name = entry.name.partition("-")[0].partition(".")[0]
        if name not in packages and name != "__pycache__":
            (its_own / entry.name).symlink_to(entry)
    return python

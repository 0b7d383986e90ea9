"""A user's type checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".mypy_cache" / "programs"


def type_checked(folder: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run mypy --strict over programs, which are kept in `folder` as program_0.py and so on."""
    files = [folder / f"program_{number}.py" for number in range(len(programs))]
    for file, program in zip(files, programs, strict=True):
        file.write_text(program)
    options = ("--strict", "--no-error-summary", "--config-file=", f"--cache-dir={CACHE}")
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, files)],
        cwd=folder,
        capture_output=True,
        timeout=300,
        check=False,
        text=True,
    )

"""Validate a FOCUS file: `python -m tests.focus FILE`, with the dependency group `focus` in a temporary environment.

Prints what `validate.py` prints; exits with 75 where the environment cannot be made: without Python 3.12 or a registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.install.interpreters import find_interpreters

FOLDER = Path(__file__).parent
NO_ENVIRONMENT = 75


def main(file: str) -> int:
    uv = os.environ.get("UV") or shutil.which("uv")
    python = uv and next((path for version, path in find_interpreters().items() if version.startswith("3.12.")), None)
    if not uv or not python:
        return NO_ENVIRONMENT
    groups = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["dependency-groups"]
    packages = [f"--with={requirement}" for requirement in groups["focus"]]
    run = (uv, "run", "--quiet", "--no-project", "--isolated", "--python", python, *packages, "python")
    done = subprocess.run([*run, FOLDER / "validate.py", Path(file).resolve()], check=False, capture_output=True)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    # The script itself ends with an exit code of Python, after it was started.
    return NO_ENVIRONMENT if done.returncode and b"validate.py" not in done.stderr else done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

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

from tests.install.interpreters import candidates, version_of

FOLDER = Path(__file__).parent
NO_ENVIRONMENT = 75
PYTHON = (3, 12)


def main(file: str) -> int:
    uv = os.environ.get("UV") or shutil.which("uv")
    python = uv and next((path for path in candidates() if (version_of(path) or ())[:2] == PYTHON), None)
    if not uv or not python:
        return NO_ENVIRONMENT
    groups = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["dependency-groups"]
    packages = [f"--with={requirement}" for requirement in groups["focus"]]
    run = (uv, "run", "--quiet", "--no-project", "--isolated", "--python", python, *packages, "python")
    # Its packages are compiled once for all runs.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    script, target = FOLDER / "validate.py", Path(file).resolve()
    done = subprocess.run([*run, script, target], check=False, capture_output=True, env=env)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    # The script itself ends with an exit code of Python, after it was started.
    return NO_ENVIRONMENT if done.returncode and b"validate.py" not in done.stderr else done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

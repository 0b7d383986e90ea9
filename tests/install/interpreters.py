"""Finds the Pythons of this machine on which the package promises to run; downloads none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.install.plain import uv

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (3, 11)
_TELL = "import json, platform, sys; print(json.dumps([platform.python_implementation(), sys.version_info[:3]]))"


def find_interpreters() -> dict[str, str]:
    """Return an interpreter for each version of CPython that is new enough, by its version, the oldest first."""
    found: dict[tuple[int, ...], str] = {}
    for candidate in {os.path.realpath(path): path for path in candidates()}.values():
        version = version_of(candidate)
        if version is not None and version >= OLDEST:
            found.setdefault(version, candidate)
    return {".".join(map(str, version)): found[version] for version in sorted(found)}


def candidates() -> Iterator[str]:
    """Yield what may be an interpreter: this one, those that uv finds, those of pyenv."""
    yield sys.executable
    for row in json.loads(uv("python", "list", "--only-installed", "--output-format", "json")):
        yield row["path"]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(pyenv.glob("versions/3.*/bin/python3")))


def version_of(candidate: str) -> tuple[int, ...] | None:
    """Return the version of a CPython; None for what is none or does not run."""
    try:
        done = subprocess.run([candidate, "-I", "-c", _TELL], capture_output=True, timeout=30, check=True)
        implementation, version = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return tuple(version) if implementation == "CPython" else None

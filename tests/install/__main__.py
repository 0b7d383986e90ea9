"""Test the plain install on each Python of this machine and on the lowest dependencies: `python -m tests.install`.

Arguments are passed on to pytest.  Exits with 1 when the tests fail in one of the environments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.install.interpreters import find_interpreters
from tests.install.plain import ROOT, build, install, wheel_in


def main() -> int:
    """Build once, then install and test in one environment after another."""
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dist = folder / "dist"
        build(dist)
        found = find_interpreters()
        environments = [(f"Python {version}", path, False) for version, path in found.items()]
        version, path = next(iter(found.items()))
        environments.append((f"Python {version}, lowest versions of the direct dependencies", path, True))
        for number, (told, path, lowest) in enumerate(environments):
            sys.stderr.write(f"plain install: {told}\n")
            python = install(wheel_in(dist), folder / f"venv-{number}", python=path, lowest=lowest)
            if not passes(python, dist):
                failed.append(told)
    for told in failed:
        sys.stderr.write(f"plain install: failed on {told}\n")
    return 1 if failed else 0


def passes(python: Path, dist: Path) -> bool:
    """Whether the tests of the plain install pass in an environment."""
    settings = {**os.environ, "LLMROUTE_PLAIN_PYTHON": str(python), "LLMROUTE_DIST": str(dist)}
    line = (sys.executable, "-m", "pytest", "-q", "tests/install", *sys.argv[1:])
    return subprocess.run(line, cwd=ROOT, env=settings, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

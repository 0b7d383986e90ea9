"""Environments that have llmroute and what it needs, but not every package that the tests' own has."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.support.shell import Ran, environment


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


@dataclass(frozen=True)
class Room:
    """A Python that has llmroute but not the engine, a home, and a folder that it imports from."""

    python: Path
    home: Path
    packages: Path

    def settings(self, **settings: str) -> dict[str, str]:
        return {
            "PATH": str(self.home / "bin"),
            "PYTHONPATH": str(self.packages),
            "OLLAMA_HOST": "127.0.0.1:9",
        } | settings

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> Ran:
        done = subprocess.run(
            [self.python, "-m", "llmroute", *arguments],
            env=environment(self.home, **self.settings(**settings)),
            cwd=self.home,
            input=stdin.encode(),
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def pip(self, then: str) -> None:
        """Put a pip there that writes down what it is asked for, then does something."""
        (self.packages / "pip").mkdir()
        (self.packages / "pip" / "__init__.py").touch()
        (self.packages / "pip" / "__main__.py").write_text(self._program(then))

    def uv(self, then: str) -> None:
        """Put a uv on the PATH that does the same."""
        (self.home / "bin").mkdir()
        program = self.home / "bin" / "uv"
        program.write_text(f"#!{self.python}\n{self._program(then)}")
        program.chmod(0o755)

    def _program(self, then: str) -> str:
        return (
            "import json, os, sys\nfrom pathlib import Path\n"
            f"here = Path({str(self.packages)!r})\n"
            "(here / 'asked').write_text(json.dumps([sys.executable, *sys.argv[1:]]))\n" + then
        )

    def asked(self) -> list[str]:
        """What the installer was asked for, after the Python that it runs in."""
        told: list[str] = json.loads((self.packages / "asked").read_text())
        return told

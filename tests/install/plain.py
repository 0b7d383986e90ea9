"""The package as its users get it: sdist and wheel, and an environment with the wheel and its dependencies alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.shell import Ran, environment

ROOT = Path(__file__).parents[2]
# Where each shell looks, below share/ of a prefix.
COMPLETIONS = {
    "bash": "bash-completion/completions/llmroute",
    "zsh": "zsh/site-functions/_llmroute",
    "fish": "fish/vendor_completions.d/llmroute.fish",
}
# Prints what the environment of an interpreter holds, as JSON.
_DESCRIBE = """
import importlib.metadata as metadata, json, sqlite3, sys, sysconfig
found = metadata.distribution("llmroute")
print(json.dumps({
    "python": list(sys.version_info[:3]),
    "sqlite": sqlite3.sqlite_version,
    "purelib": sysconfig.get_path("purelib"),
    "distributions": {each.name: each.version for each in metadata.distributions()},
    "packages": metadata.packages_distributions(),
    "requires": found.requires,
    "files": [str(name) for name in found.files],
    "standard": sorted(sys.stdlib_module_names),
}))
"""


def uv(*arguments: str | Path) -> str:
    """Run uv and return what it wrote to stdout."""
    program = os.environ.get("UV") or shutil.which("uv")
    assert program is not None, "uv builds and installs the package here: pip install uv"
    done = subprocess.run([program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"uv {' '.join(map(str, arguments))}: {done.stderr}"
    return done.stdout


def build(folder: Path) -> None:
    """Build the sdist, and the wheel out of the sdist, into a folder."""
    uv("build", "--quiet", "--out-dir", folder, ROOT)


def wheel_in(folder: Path) -> Path:
    (found,) = folder.glob("llmroute-*.whl")
    return found


def install(wheel: Path, folder: Path, *, python: str = sys.executable, lowest: bool = False) -> Path:
    """Install a wheel into a new environment and return its interpreter.

    With `lowest`, each direct dependency is of the lowest version that the project allows.
    """
    uv("venv", "--quiet", "--no-python-downloads", "--python", python, folder)
    interpreter = folder / "bin" / "python"
    if lowest:
        requirements = ("--resolution", "lowest-direct", "--requirements", ROOT / "pyproject.toml")
        uv("pip", "install", "--quiet", "--python", interpreter, *requirements)
    uv("pip", "install", "--quiet", "--python", interpreter, wheel)
    uv("pip", "check", "--quiet", "--python", interpreter)
    return interpreter


@dataclass(frozen=True)
class PlainInstall:
    """An environment into which nothing but the wheel was installed."""

    python: Path

    @property
    def prefix(self) -> Path:
        return self.python.parent.parent

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the environment holds; see `_DESCRIBE`."""
        done = subprocess.run([self.python, "-I", "-c", _DESCRIBE], capture_output=True, check=True)
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module of the package by its dotted name."""
        found = {}
        for name in self.facts["files"]:
            path = Path(name)
            if path.parts[0] == "llmroute" and path.suffix == ".py":
                parts = path.with_suffix("").parts
                dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[dotted] = Path(self.facts["purelib"]) / path
        return found

    def completion(self, shell: str) -> Path:
        """Where the completion script of a shell was installed."""
        return self.prefix / "share" / COMPLETIONS[shell]

    def llmroute(self, *arguments: str, home: Path, stdin: str | None = None, **settings: str) -> Ran:
        """Run the installed command; stdin is empty unless given."""
        return self._run([str(self.python.parent / "llmroute"), *arguments], home, stdin, settings)

    def program(self, *arguments: str | Path, home: Path, **settings: str) -> Ran:
        """Run the interpreter with a program; a resource that is left open is an error."""
        line = [str(self.python), "-W", "error::ResourceWarning", *map(str, arguments)]
        return self._run(line, home, None, settings)

    def _run(self, line: list[str], home: Path, stdin: str | None, settings: dict[str, str]) -> Ran:
        kept = environment(home, **settings)
        kept["PATH"] = f"{self.python.parent}{os.pathsep}{os.defpath}"
        done = subprocess.run(
            line, env=kept, cwd=home, input=(stdin or "").encode(), capture_output=True, timeout=60, check=False
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

"""The completion scripts that are shipped, and the environment of a shell that uses them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.shell import environment

SHIPPED = Path(__file__).parents[3] / "completions"
PRINTED = {"bash": "llmroute.bash", "zsh": "_llmroute", "fish": "llmroute.fish"}


def shell_environment(home: Path) -> dict[str, str]:
    return environment(home, TERM="xterm") | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}

"""Hosts whose ledger is on a PostgreSQL server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.shell import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.model_server import ModelServer


class Host:
    """A host with a home of its own, whose ledger is on a server."""

    def __init__(self, home: Path, url: str, models: ModelServer) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self._settings = {**models.settings, "LLMROUTE_LEDGER": url}

    def run(self, *arguments: str, **settings: str) -> Ran:
        return run(*arguments, home=self.home, **{**self._settings, **settings})

    def gen(self, *more: str) -> Ran:
        return self.run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", *more)

    def cap_itself(self, usd: float, warn_at: float = 0.8) -> None:
        """Set a cap in the host's own config.toml."""
        folder = self.home / "llmroute"
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(f"[budgets]\ntotal = {usd}\nwarn_at = {warn_at}\n")

    def refused_line(self, *arguments: str, code: int, **settings: str) -> str:
        """Run a command that must fail with a code and one line; return the line."""
        ran = self.run(*arguments, **settings)
        assert (ran.code, ran.out) == (code, ""), ran.err
        [line] = [line for line in ran.err.splitlines() if not line.startswith(("hint:", "  hint:"))]
        return line

    def calls(self) -> int:
        told = json.loads(self.run("costs", "--period", "all", "--json").out)
        return int(told["call_count"])

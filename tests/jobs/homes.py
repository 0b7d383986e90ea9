"""Home directories whose four providers are one vendor on loopback."""

from __future__ import annotations

import json
import sqlite3
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from tests.support.batch_vendor import MODELS, TOGETHER_CONFIG, BatchVendor
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.fault_server import FaultServer
    from tests.support.shell import Ran

GEN = ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--tier", "batch", "--poll", "0.01", "--max-tokens", "50")
KEY = "sk-test-0123456789"


class Home:
    """A home directory whose four providers are one vendor."""

    def __init__(self, folder: Path, vendor: BatchVendor, server: FaultServer) -> None:
        self.folder, self.vendor, self.server = folder, vendor, server
        self.settings: dict[str, str] = {}
        for name in MODELS:
            self.settings |= {f"{name.upper()}_BASE_URL": f"{server.url}/{name}/v1", f"{name.upper()}_API_KEY": KEY}
        self.settings["LLMROUTE_CONFIG_DIR"] = str(folder)
        (folder / "config.toml").write_text(TOGETHER_CONFIG)

    def at(self, folder: Path) -> Self:
        """Return a home elsewhere with the same vendor."""
        other = copy(self)
        other.folder = folder
        return other

    def write(self, prompts: Sequence[str], models: Sequence[str] = tuple(MODELS.values())) -> None:
        """Write the input: each prompt in turn for one of the models."""
        lines = [
            {"id": f"r{n}", "prompt": prompt, "model": models[n % len(models)]} for n, prompt in enumerate(prompts)
        ]
        (self.folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run(self, *more: str, **environ: str) -> Ran:
        return run(*GEN, *more, home=self.folder, **self.settings, **environ)

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text().split("\n") if line]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.folder / "ledger.db")
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def change(self, sql: str) -> None:
        db = sqlite3.connect(self.folder / "ledger.db", isolation_level=None)
        try:
            db.execute(sql)
        finally:
            db.close()

    def billed(self) -> int:
        """Return what the ledger counts for batch lines, in pico-USD."""
        found: int = self.query("SELECT ifnull(sum(cost_picousd), 0) FROM attempts WHERE service_tier = 'batch'")[0][0]
        return found

    def assert_all_answered_once(self, prompts: Sequence[str]) -> None:
        """Check each result, that each line ran once, and that the ledger is the vendor's bill."""
        results = self.results()
        assert [result["id"] for result in results] == [f"r{n}" for n in range(len(prompts))]
        assert [result["content"] for result in results] == [f"answer\u2028{prompt}" for prompt in prompts]
        assert {result["tier"] for result in results} == {"batch"}
        assert max(self.vendor.runs.values()) == 1
        assert self.billed() == self.vendor.bill_picousd > 0
        assert self.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]

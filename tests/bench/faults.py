"""Batches through a provider that fails at random, uninterrupted and killed repeatedly: answers and costs."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import interrupted_calls
from tests.bench.report import BenchResult, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPTS = 10_000
KILLS = 20
CALLS = 200
JOBS = 64
PROGRAMS = Path(sys.executable).parent
# The error rates of llmock.
RATES = ("429=0.05", "500=0.02")


def measure(prompts: int = PROMPTS, kills: int = KILLS, calls: int = CALLS) -> BenchResult:
    """Run a batch of `prompts` prompts, and another one that is killed `kills` times and resumed.

    Then make `calls` calls that are stopped, killed or time out, under a budget.
    """
    found = BenchResult()
    with tempfile.TemporaryDirectory() as name, _llmock() as url:
        folder = Path(name)
        file = folder / "prompts.jsonl"
        file.write_text(
            "".join(json.dumps({"id": f"r{number}", "prompt": f"Say {number}."}) + "\n" for number in range(prompts))
        )
        complete = _Batch(folder / "complete", file, url)
        complete.finish()
        found.measurements += complete.measurements(
            f"batch of {prompts:,} through 5 % 429s and 2 % 500s", prompts, most_lost=0
        )
        killed = _Batch(folder / "killed", file, url)
        chance = random.Random(1)
        for number in range(kills):
            killed.kill_after((number + chance.random()) * prompts / (kills + 1))
        killed.finish()
        found.measurements += killed.measurements(f"the same killed {kills} times", prompts, most_lost=kills * JOBS)
        found.measurements += interrupted_calls.measurements(calls)
        found.figures.append({"complete": complete.seconds, "killed": killed.seconds})
    return found


class _Batch:
    """One batch with its own configuration folder and results file."""

    def __init__(self, home: Path, file: Path, url: str) -> None:
        home.mkdir()
        self._results = home / "results.jsonl"
        self._ledger = home / "ledger.db"
        self.seconds = 0.0
        flags = ("--batch", str(file), "-o", str(self._results), "--resume", "--jobs", str(JOBS), "-q")
        self._command = (str(PROGRAMS / "llmroute"), "gen", *flags, "-m", "openai/gpt-4o", "--no-fallback")
        self._settings = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-bench", "LLMROUTE_CONFIG_DIR": str(home)}

    def finish(self) -> None:
        """Run it to its end; it must exit with 0."""
        started_s = time.monotonic()
        subprocess.run(self._command, env={**os.environ, **self._settings}, check=True)
        self.seconds += time.monotonic() - started_s

    def kill_after(self, answers: float) -> None:
        """Run it, and kill it when its results file has so many lines."""
        started_s = time.monotonic()
        with subprocess.Popen(self._command, env={**os.environ, **self._settings}) as process:
            while process.poll() is None and self._count() < answers:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        self.seconds += time.monotonic() - started_s

    def _count(self) -> int:
        return self._results.read_bytes().count(b"\n") if self._results.exists() else 0

    def measurements(self, what: str, prompts: int, *, most_lost: int) -> list[Measurement]:
        """Return the measurements of the results and the costs; `most_lost` attempts may be lost at kills."""
        lines = [json.loads(line) for line in self._results.read_text().splitlines()]
        answers = Counter(line["id"] for line in lines if line.get("content"))
        with closing(sqlite3.connect(self._ledger)) as db:
            bill = dict(db.execute("SELECT request_id, sum(cost_picousd) FROM attempts GROUP BY request_id"))
            (lost,) = db.execute("SELECT count(*) FROM attempts WHERE status IN ('lost', 'pending')").fetchone()
        reported = sum(round(line["cost_usd"] * 10**12) for line in lines)
        billed = sum(bill.get(line["request_id"], 0) for line in lines)
        # The cost of an answer that was written but not settled before a kill is an estimate.
        difference = billed - reported if most_lost == 0 else min(billed - reported, 0)
        return [
            Measurement(
                f"{what}: answers", "its prompts", prompts, len(answers), at_least=True, note=f"{self.seconds:.0f} s"
            ),
            Measurement(f"{what}: answers given twice", "none", 0, sum(answers.values()) - len(answers)),
            Measurement(f"{what}: bill", "reported costs, in pico-USD", 0, abs(difference)),
            Measurement(f"{what}: attempts lost", "those in flight", most_lost, lost),
        ]


@contextmanager
def _llmock() -> Iterator[str]:
    """Start llmock with its error rates; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rates = [part for rate in RATES for part in ("--error-rate", rate)]
    command = [str(PROGRAMS / "llmock"), "serve", "--port", str(port), "--log-level", "error", *rates]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)
        else:
            return

"""Calls that are stopped, killed or time out, with a provider that bills everything it was allowed to generate."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.bench.report import Measurement
from tests.support.billing_server import INPUT, OUTPUT, PLAIN, STREAMED, Biller
from tests.support.fault_server import Received, Script, serving
from tests.support.provider_servers import openai_answer

# Ten input and five output tokens, as reported by `openai_answer`.
REPORTED_PICOUSD = 10 * INPUT + 5 * OUTPUT
PROGRAM = Path(sys.executable).parent / "llmroute"
BUDGET_PICOUSD = 400 * 10**9
JOBS = 4
TIMEOUT_S = 1.5
# The signal sent to a process during its call; without one, most calls time out.
SIGNALS = (None, None, None, signal.SIGSTOP, signal.SIGKILL, signal.SIGINT)


class _Provider:
    """Answers with a random script of `Biller`: completely, late, partially, or never."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self.bill_picousd = 0

    def __call__(self, received: Received) -> Script:
        streaming = bool(json.loads(received.body).get("stream"))
        ends = STREAMED if streaming else {**PLAIN, "well": [openai_answer()]}
        end = self._chance.choice(list(ends))
        biller = Biller(ends[end])
        script = biller(received)
        # An answer that reports its usage is billed by it.
        self.bill_picousd += REPORTED_PICOUSD if end == "well" else biller.bill_picousd
        return script


def measurements(calls: int) -> list[Measurement]:
    """Make `calls` calls under a daily budget; return the measurements of their bills."""
    provider = _Provider()
    with serving(provider) as server, tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "config.toml").write_text(f"[budgets]\nday = {BUDGET_PICOUSD / 10**12}\n")
        environ = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-bench",
            "LLMROUTE_CONFIG_DIR": str(home),
        }
        chance = random.Random(2)
        left = calls
        while left > 0:
            running = [_start(chance, environ) for _ in range(min(JOBS, left))]
            left -= len(running)
            for process in running:
                _finish(process, chance)
        # The next run settles the attempts of dead processes.
        subprocess.run([PROGRAM, "costs"], env=environ, capture_output=True, check=False)
        return _measurements(f"{calls} calls stopped, killed and timed out", home, provider.bill_picousd)


def _start(chance: random.Random, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    command = chance.choice(("gen", "stream"))
    flags = ("-m", "openai/gpt-4.1-mini", "--no-fallback", "--timeout", str(TIMEOUT_S), "--max-tokens", "20000")
    return subprocess.Popen(
        [PROGRAM, command, "hi", *flags], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _finish(process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Send a random signal to a process, and wait for it to exit."""
    number = chance.choice(SIGNALS)
    time.sleep(chance.random() * 0.3)
    if number is not None and process.poll() is None:
        process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
    process.wait(timeout=60)


def _measurements(what: str, home: Path, bill_picousd: int) -> list[Measurement]:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        spent, pending = db.execute(
            "SELECT ifnull(sum(cost_picousd), 0), count(*) FILTER (WHERE status = 'pending') FROM attempts"
        ).fetchone()
    return [
        Measurement(f"{what}: the provider's bill", "the budget", BUDGET_PICOUSD, bill_picousd, "pico-USD"),
        Measurement(f"{what}: the ledger's bill", "the budget", BUDGET_PICOUSD, spent, "pico-USD"),
        Measurement(f"{what}: the ledger's bill", "the provider's", bill_picousd, spent, "pico-USD", at_least=True),
        Measurement(f"{what}: calls left pending", "none", 0, pending),
    ]

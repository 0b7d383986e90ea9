"""Calls that are stopped, killed and timed out, and a provider that bills whatever it was allowed to write."""

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

from tests.bench.promise import Promise
from tests.support.billing_server import INPUT, OUTPUT, PLAIN, STREAMED, Biller
from tests.support.fault_server import Received, Script, serving
from tests.support.provider_servers import openai_answer

# Ten tokens of a prompt and five of an answer, as `openai_answer` tells them.
TOLD_PICOUSD = 10 * INPUT + 5 * OUTPUT
PROGRAM = Path(sys.executable).parent / "llmroute"
CAP_PICOUSD = 400 * 10**9
AT_ONCE = 4
TIMEOUT_S = 1.5
# What is done to a process in the midst of its call: most are left to time out.
FATES = (None, None, None, signal.SIGSTOP, signal.SIGKILL, signal.SIGINT)


class _Provider:
    """Answers at random as `Biller` does by one script: well, late, half, or never."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self.bill_picousd = 0

    def __call__(self, received: Received) -> Script:
        streaming = bool(json.loads(received.body).get("stream"))
        ends = STREAMED if streaming else {**PLAIN, "well": [openai_answer()]}
        end = self._chance.choice(list(ends))
        biller = Biller(ends[end])
        script = biller(received)
        # A usage that an answer tells is what it is billed by.
        self.bill_picousd += TOLD_PICOUSD if end == "well" else biller.bill_picousd
        return script


def promises(calls: int) -> list[Promise]:
    """Make so many calls under a cap on the day; return what must hold of their bills."""
    provider = _Provider()
    with serving(provider) as server, tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "config.toml").write_text(f"[budgets]\nday = {CAP_PICOUSD / 10**12}\n")
        environ = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-bench",
            "LLMROUTE_CONFIG_DIR": str(home),
        }
        chance = random.Random(2)
        left = calls
        while left > 0:
            running = [_begin(chance, environ) for _ in range(min(AT_ONCE, left))]
            left -= len(running)
            for process in running:
                _end(process, chance)
        # The next run gives up what dead processes have left pending.
        subprocess.run([PROGRAM, "costs"], env=environ, capture_output=True, check=False)
        return _promises(f"{calls} calls stopped, killed and timed out", home, provider.bill_picousd)


def _begin(chance: random.Random, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    command = chance.choice(("gen", "stream"))
    asked = ("-m", "openai/gpt-4.1-mini", "--no-fallback", "--timeout", str(TIMEOUT_S), "--max-tokens", "20000")
    return subprocess.Popen(
        [PROGRAM, command, "hi", *asked], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _end(process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Let a process meet its fate, and wait for its end."""
    fate = chance.choice(FATES)
    time.sleep(chance.random() * 0.3)
    if fate is not None and process.poll() is None:
        process.send_signal(fate)
        if fate == signal.SIGSTOP:
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
    process.wait(timeout=60)


def _promises(what: str, home: Path, bill_picousd: int) -> list[Promise]:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        spent, pending = db.execute(
            "SELECT ifnull(sum(cost_picousd), 0), count(*) FILTER (WHERE status = 'pending') FROM attempts"
        ).fetchone()
    return [
        Promise(f"{what}: the provider's bill", "the cap", CAP_PICOUSD, bill_picousd, "pico-USD"),
        Promise(f"{what}: the ledger's bill", "the cap", CAP_PICOUSD, spent, "pico-USD"),
        Promise(f"{what}: the ledger's bill", "the provider's", bill_picousd, spent, "pico-USD", at_least=True),
        Promise(f"{what}: calls left pending", "none", 0, pending),
    ]

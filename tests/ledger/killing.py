"""Children that call and settle, killed at random instants: `python -m tests.ledger.killing LEDGER LOG KILLS SEED`."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from llmroute.errors import BudgetExceededError
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import cap, fixed, row, settled, unique

CAP, WORST = 400_000, 100
CHILDREN = 4


def call_for_ever(path: Path, log: Path) -> None:
    answers = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with Ledger(path) as ledger:
        ledger.tend(time.time_ns() // 1_000_000)
        while True:
            made = row(unique(), at_ms=time.time_ns() // 1_000_000)
            try:
                ledger.begin(made, [cap(CAP)], fixed(WORST))
            except BudgetExceededError:
                time.sleep(0.001)
                continue
            os.write(answers, f"{made.request_id}\n".encode())
            ledger.settle(settled(made, random.randrange(WORST + 1)))


def child(path: Path, log: Path) -> int:
    pid = os.fork()
    if pid == 0:
        random.seed(os.urandom(8))
        try:
            call_for_ever(path, log)
        except BaseException as error:  # noqa: BLE001
            sys.stderr.write(f"{error!r}\n")
            sys.stderr.flush()
        os._exit(1)
    return pid


def main(ledger: str, log: str, kills: str, seed: str) -> None:
    chance = random.Random(seed)
    path, answers = Path(ledger), Path(log)
    children = [child(path, answers) for _ in range(CHILDREN)]
    for _ in range(int(kills)):
        time.sleep(chance.uniform(0, 0.012))
        victim = children.pop(chance.randrange(CHILDREN))
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        assert os.WIFSIGNALED(status), "it had failed before it was killed"
        children.append(child(path, answers))
    for victim in children:
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Every attempt counts once, while hosts are killed that call, spool and add their spools, and others prune."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.port import Span
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.reports import grouped
from tests.ledger.calls import FOREVER_MS, NOW_MS, row, settled, unique
from tests.ledger.stores import address, postgres
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger_location import ServerAddress

__all__ = ["address", "postgres"]

HOSTS, KILLS, SPOOLED_AT_ONCE = 3, 30, 6
LOSS, COST = 100, 30


class Host:
    """Makes calls of past months, each of which is lost unless it ends, and notes each step before and after."""

    def __init__(self, ledger: PostgresLedger, log: Path) -> None:
        self._ledger = ledger
        self._log = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._open: list[tuple[AttemptRow, bool]] = []

    def begin(self) -> None:
        at_ms = NOW_MS - random.randrange(100, 220) * DAY_MS
        name, on_server = unique(), random.random() < 0.6
        made = row(name, at_ms=at_ms, reserved=LOSS, cost_basis="at_most", workspace=name, deadline_ms=1)
        self._note(name, "begins")
        if not on_server:
            spool.keep(made, self._ledger.path)
        elif self._ledger.write([Pending(made)]) != [None]:
            return
        self._note(name, "has begun")
        self._open.append((made, on_server))

    def end(self) -> None:
        if self._open:
            made, on_server = self._open.pop(random.randrange(len(self._open)))
            end, way = settled(made, COST), random.choice(("server", "spool", "both")) if on_server else "spool"
            self._note(made.request_id, "ends")
            if way != "spool" and self._ledger.write([Settled(end)]) != [None]:
                return
            if way != "server":
                spool.keep(end, self._ledger.path, begun=on_server)
            self._note(made.request_id, "has ended")

    def add_the_spool(self) -> None:
        self._ledger.tend(0, until_s=random.choice((0.0, inf)))

    def _note(self, name: str, step: str) -> None:
        os.write(self._log, f"{name} {step}\n".encode())


def call(number: int, address: ServerAddress, folder: Path) -> None:
    random.seed()
    pytest.MonkeyPatch().setattr(spool, "ROWS_AT_ONCE", SPOOLED_AT_ONCE)
    with PostgresLedger(address, folder / f"host{number}", wait_s=PATIENCE_S) as ledger:
        host = Host(ledger, folder / f"log{number}")
        while True:
            # An entry that was not written is none that counts.
            with suppress(LedgerError):
                random.choice((host.begin, host.begin, host.end, host.end, host.add_the_spool))()


def prune(number: int, address: ServerAddress, folder: Path) -> None:
    random.seed()
    with PostgresLedger(address, folder / f"pruning{number}", wait_s=PATIENCE_S) as ledger:
        while True:
            with suppress(LedgerError):
                ledger.prune(NOW_MS - random.randrange(20, 240) * DAY_MS)
            time.sleep(random.random() / 5)


def counted(steps: set[str], found: tuple[int, int] | None) -> bool:
    """Whether an attempt of which a host noted some steps may have a count and a cost, None without a line."""
    if "has ended" in steps:
        return found == (1, COST)
    if "has begun" in steps:
        return found == (1, LOSS) or ("ends" in steps and found == (1, COST))
    return found in (None, (1, LOSS))


def test_every_attempt_counts_once_beside_kills_and_pruning(address: ServerAddress, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])

    def started(work: object, number: int) -> ForkServerProcess:
        process = context.Process(target=work, args=(number, address, tmp_path))  # type: ignore[arg-type]
        process.start()
        return process

    def kill(process: ForkServerProcess) -> None:
        assert process.pid is not None
        assert process.exitcode is None, "it had failed before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    with PostgresLedger(address, tmp_path / "audit") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        hosts = [started(call, number) for number in range(HOSTS)]
        prunings = [started(prune, number) for number in range(2)]
        for number in range(KILLS):
            time.sleep(random.random() / 5)
            kill(hosts[number % HOSTS])
            hosts[number % HOSTS] = started(call, number % HOSTS)
        for process in (*hosts, *prunings):
            kill(process)
        for number in range(HOSTS):
            with PostgresLedger(address, tmp_path / f"host{number}") as host:
                host.tend(0)
        ledger.prune(NOW_MS)
        steps: dict[str, set[str]] = defaultdict(set)
        for log in tmp_path.glob("log*"):
            for line in log.read_text().splitlines():
                name, _, step = line.partition(" ")
                steps[name].add(step)
        with ledger.snapshot() as snapshot:
            sums = grouped(snapshot, "workspace", Span(None, FOREVER_MS))
        found = {line.key["workspace"]: (line.call_count, line.cost_picousd) for line in sums}
        assert found.keys() <= steps.keys()
        wrong = {name: (noted, found.get(name)) for name, noted in steps.items() if not counted(noted, found.get(name))}
        assert wrong == {}
        assert ServerMaintenance(address, ledger.path).check(datetime.now(UTC)).sound

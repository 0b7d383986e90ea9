"""A ledger of two busy years compared with a small one: reports, single writes and group commits."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics.values import Observation
from tests.bench import ledger_generator
from tests.bench.process import REPEATS, Command, run_interleaved
from tests.bench.report import BenchResult, Measurement

if TYPE_CHECKING:
    from llmroute.ledger.attempt_row import AttemptRow

ROWS, FEW = 10_000_000, 1_000
BYTES_PER_ROW = 700
GROUP_SIZE = 64
WRITES = 2_000
LLMROUTE = str(Path(sys.executable).with_name("llmroute"))


def measure(rows: int = ROWS, repeats: int = REPEATS, writes: int = WRITES) -> BenchResult:
    """Generate a ledger of `rows` rows; run each report `repeats` times and write `writes` attempts."""
    found = BenchResult()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < rows * BYTES_PER_ROW:
            why = f"{rows * BYTES_PER_ROW / 1e9:.0f} GB are not free in {folder}"
            return BenchResult([_costs(None, rows, why), _write(None, rows, why)])
        started = time.monotonic()
        now_ms = time.time_ns() // 10**6
        for count in (FEW, rows):
            ledger_generator.write(folder / f"{count}.db", count, now_ms)
        found.details = f"{rows:,} attempts generated in {time.monotonic() - started:.0f} s\n"
        usage = run_interleaved({str(count): _report(folder, count) for count in (FEW, rows)}, repeats)
        few, many = usage[str(FEW)], usage[str(rows)]
        found.figures += [{"name": f"costs, {count} rows", **one._asdict()} for count, one in usage.items()]
        note = f"{1000 * many.wall_s:.0f} ms / {1000 * few.wall_s:.0f} ms"
        found.measurements.append(_costs(many.wall_s / few.wall_s, rows, note))
        few_us, many_us = _writing(folder, rows, writes)
        found.figures.append({"name": "begin and settle", "few_us": few_us, "many_us": many_us})
        found.measurements.append(_write(many_us / few_us, rows, f"{many_us:.0f} us / {few_us:.0f} us"))
        grouped_us = _grouped(folder, writes)
        found.figures.append({"name": f"begin and settle, {GROUP_SIZE} at once", "us": grouped_us})
        note = f"{grouped_us:.0f} us / {few_us:.0f} us"
        found.measurements.append(
            Measurement(
                f"writing one attempt of {GROUP_SIZE} at once, wall", "one alone", 0.5, grouped_us / few_us, note=note
            )
        )
    return found


def _costs(ratio: float | None, rows: int, note: str) -> Measurement:
    return Measurement(f"costs --period month, {rows:,} rows, wall", f"{FEW:,} rows", 1.3, ratio, note=note)


def _write(ratio: float | None, rows: int, note: str) -> Measurement:
    return Measurement(f"writing one attempt, {rows:,} rows, wall", f"{FEW:,} rows", 1.3, ratio, note=note)


def _report(folder: Path, count: int) -> Command:
    home = folder / f"home-{count}"
    home.mkdir()
    settings = {"LLMROUTE_CONFIG_DIR": str(home), "LLMROUTE_LEDGER": str(folder / f"{count}.db")}
    return Command((LLMROUTE, "costs", "--period", "month"), home, settings)


def _writing(folder: Path, rows: int, writes: int) -> tuple[float, float]:
    """Return the median microseconds to begin and settle an attempt, with few rows and with many."""
    taken: dict[int, list[float]] = {FEW: [], rows: []}
    with ExitStack() as stack:
        ledgers = {count: stack.enter_context(Ledger(folder / f"{count}.db")) for count in taken}
        for number in range(writes):
            for count, ledger in ledgers.items():
                row, observation = _attempt(f"alone-{number}")
                started = time.perf_counter()
                ledger.begin(row)
                row.status, row.settled_ms = "ok", row.started_ms + 9
                ledger.settle(row, observation)
                taken[count].append(1e6 * (time.perf_counter() - started))
    return median(taken[FEW]), median(taken[rows])


def _grouped(folder: Path, writes: int) -> float:
    """Return the median microseconds per attempt when many begin and settle at once."""
    taken = []
    with Ledger(folder / "grouped.db") as ledger:
        for group in range(0, writes, GROUP_SIZE):
            made = [_attempt(f"grouped-{group + number}") for number in range(GROUP_SIZE)]
            started = time.perf_counter()
            ledger.write([Pending(row) for row, _ in made])
            for row, _ in made:
                row.status, row.settled_ms = "ok", row.started_ms + 9
            ledger.write([Settled(row, observation) for row, observation in made])
            taken.append(1e6 * (time.perf_counter() - started) / GROUP_SIZE)
    return median(taken)


def _attempt(request: str) -> tuple[AttemptRow, Observation]:
    now_ms = time.time_ns() // 10**6
    [row] = ledger_generator.rows(0, 1, now_ms, seed=random.randrange(2**30))
    row.request_id, row.started_ms, row.status = request, now_ms, "pending"
    return row, Observation(
        row.provider, row.model, "", 0, now_ms, "", succeeded=True, ttft_s=0.5, per_token_s=0.01, answered=True
    )

"""A ledger of two busy years beside a young one: the bill, the writing of an attempt, and of many at once."""

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

from llmroute.ledger.sqlite.observations import Observation
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.sqlite.writes import Pending, Settled
from tests.bench import years
from tests.bench.process import REPEATS, Command, in_turns
from tests.bench.promise import Measured, Promise

if TYPE_CHECKING:
    from llmroute.ledger.attempt_row import AttemptRow

ROWS, FEW = 10_000_000, 1_000
BYTES_A_ROW = 700
AT_ONCE = 64
WRITES = 2_000
LLMROUTE = str(Path(sys.executable).with_name("llmroute"))


def measure(rows: int = ROWS, repeats: int = REPEATS, writes: int = WRITES) -> Measured:
    """Generate a ledger of so many rows; run each report so many times and write so many attempts, in turns."""
    found = Measured()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < rows * BYTES_A_ROW:
            why = f"{rows * BYTES_A_ROW / 1e9:.0f} GB are not free in {folder}"
            return Measured([_costs(None, rows, why), _write(None, rows, why)])
        started = time.monotonic()
        now_ms = time.time_ns() // 10**6
        for count in (FEW, rows):
            years.write(folder / f"{count}.db", count, now_ms)
        found.details = f"{rows:,} attempts generated in {time.monotonic() - started:.0f} s\n"
        took = in_turns({str(count): _report(folder, count) for count in (FEW, rows)}, repeats)
        few, many = took[str(FEW)], took[str(rows)]
        found.figures += [{"name": f"costs, {count} rows", **one._asdict()} for count, one in took.items()]
        note = f"{1000 * many.wall_s:.0f} ms / {1000 * few.wall_s:.0f} ms"
        found.promises.append(_costs(many.wall_s / few.wall_s, rows, note))
        few_us, many_us = _writing(folder, rows, writes)
        found.figures.append({"name": "begin and settle", "few_us": few_us, "many_us": many_us})
        found.promises.append(_write(many_us / few_us, rows, f"{many_us:.0f} us / {few_us:.0f} us"))
        together_us = _together(folder, writes)
        found.figures.append({"name": f"begin and settle, {AT_ONCE} at once", "us": together_us})
        note = f"{together_us:.0f} us / {few_us:.0f} us"
        found.promises.append(
            Promise(
                f"writing one attempt of {AT_ONCE} at once, wall", "one alone", 0.5, together_us / few_us, note=note
            )
        )
    return found


def _costs(ratio: float | None, rows: int, note: str) -> Promise:
    return Promise(f"costs --period month, {rows:,} rows, wall", f"{FEW:,} rows", 1.3, ratio, note=note)


def _write(ratio: float | None, rows: int, note: str) -> Promise:
    return Promise(f"writing one attempt, {rows:,} rows, wall", f"{FEW:,} rows", 1.3, ratio, note=note)


def _report(folder: Path, count: int) -> Command:
    home = folder / f"home-{count}"
    home.mkdir()
    settings = {"LLMROUTE_CONFIG_DIR": str(home), "LLMROUTE_LEDGER": str(folder / f"{count}.db")}
    return Command((LLMROUTE, "costs", "--period", "month"), home, settings)


def _writing(folder: Path, rows: int, writes: int) -> tuple[float, float]:
    """Return the microseconds of beginning and settling an attempt with few rows and with many, the median of each."""
    taken: dict[int, list[float]] = {FEW: [], rows: []}
    with ExitStack() as stack:
        ledgers = {count: stack.enter_context(Ledger(folder / f"{count}.db")) for count in taken}
        for number in range(writes):
            for count, ledger in ledgers.items():
                row, lesson = _attempt(f"alone-{number}")
                started = time.perf_counter()
                ledger.begin(row)
                row.status, row.settled_ms = "ok", row.started_ms + 9
                ledger.settle(row, lesson)
                taken[count].append(1e6 * (time.perf_counter() - started))
    return median(taken[FEW]), median(taken[rows])


def _together(folder: Path, writes: int) -> float:
    """Return the microseconds of an attempt when many begin and settle at once, the median of the groups."""
    taken = []
    with Ledger(folder / "together.db") as ledger:
        for group in range(0, writes, AT_ONCE):
            made = [_attempt(f"together-{group + number}") for number in range(AT_ONCE)]
            started = time.perf_counter()
            ledger.write([Pending(row) for row, _ in made])
            for row, _ in made:
                row.status, row.settled_ms = "ok", row.started_ms + 9
            ledger.write([Settled(row, lesson) for row, lesson in made])
            taken.append(1e6 * (time.perf_counter() - started) / AT_ONCE)
    return median(taken)


def _attempt(request: str) -> tuple[AttemptRow, Observation]:
    now_ms = time.time_ns() // 10**6
    [row] = years.rows(0, 1, now_ms, seed=random.randrange(2**30))
    row.request_id, row.started_ms, row.status = request, now_ms, "pending"
    return row, Observation(
        row.provider, row.model, "", 0, now_ms, "", succeeded=True, ttft_s=0.5, per_token_s=0.01, answered=True
    )

"""A ledger on PostgreSQL: attempts per second, round trips of a call, reports and pruning of ten million attempts."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.statistics.values import Observation
from llmroute.ledger_location import ServerAddress
from tests.bench import fleet_database
from tests.bench.process import LLMROUTE, REPEATS, Command, run_interleaved
from tests.bench.report import BenchResult, Measurement
from tests.ledger.calls import cap, fixed, row, settled, unique
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.postgres_server import PostgresServer
from tests.support.postgres_tap import PostgresTap

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier, Event

ROWS, FEW = 10_000_000, 1_000
BYTES_PER_ROW = 1_100
MANY = (8, 64)
SECONDS = 10
DAY_MS = 86_400_000
# What a server of its own would have; commits reach the disk.
SETTINGS = {"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "log_min_messages": "error"}


def measure(rows: int = ROWS, seconds: int = SECONDS, repeats: int = REPEATS) -> BenchResult:
    """Write for `seconds` from each number of processes; report and prune a ledger of `rows` rows."""
    found = BenchResult()
    with tempfile.TemporaryDirectory() as name, PostgresServer(None, **SETTINGS) as server:
        folder = Path(name)
        found.measurements.append(_round_trips(server, folder))
        for capped in (True, False):
            found.measurements += _rates(server, folder, seconds, capped=capped)
        if shutil.disk_usage(server.folder).free < rows * BYTES_PER_ROW:
            found.details = f"{rows * BYTES_PER_ROW / 1e9:.0f} GB are not free in {server.folder}\n"
            return found
        now_ms = time.time_ns() // 10**6
        addresses = {count: ServerAddress(server.database()) for count in (FEW, rows)}
        started_s = time.monotonic()
        for count, address in addresses.items():
            fleet_database.write(address, count, now_ms)
        found.details = f"{rows:,} attempts generated in {time.monotonic() - started_s:.0f} s\n"
        usage = run_interleaved({str(count): _report(folder, count, one) for count, one in addresses.items()}, repeats)
        few, many = usage[str(FEW)], usage[str(rows)]
        found.figures += [{"name": f"costs, {count} rows", **one._asdict()} for count, one in usage.items()]
        what = f"costs --period month, {rows:,} rows on a server, wall"
        note = f"{1000 * many.wall_s:.0f} ms / {1000 * few.wall_s:.0f} ms"
        found.measurements.append(Measurement(what, f"{FEW:,} rows", 1.3, many.wall_s / few.wall_s, note=note))
        found.measurements.append(_prune(addresses[rows], folder, now_ms))
    return found


def _round_trips(server: PostgresServer, folder: Path) -> Measurement:
    with ModelServer() as models, PostgresTap(server.port) as tap:
        host = Host(folder / "host", tap.url(server.database()), models)
        host.cap_itself(100)
        host.gen()
        before = tap.trips
        host.gen()
        return Measurement("round trips of a call under a cap", "", 3, tap.trips - before, "trips")


def _rates(server: PostgresServer, folder: Path, seconds: int, *, capped: bool) -> list[Measurement]:
    """Compare many processes, which commit together, with one; under one cap they take turns."""
    rates = {
        processes: _rate(_Load(ServerAddress(server.database()), folder / "spool", seconds, capped), processes)
        for processes in (1, *MANY)
    }
    what = f"attempts per second, {'one cap' if capped else 'no cap'}"
    return [
        Measurement(
            f"{what}, {processes} processes",
            "1 process",
            0.8 if capped else 1.5,
            rates[processes] / rates[1],
            at_least=True,
            note=f"{rates[processes]:.0f} / {rates[1]:.0f}",
        )
        for processes in MANY
    ]


class _Load(NamedTuple):
    """What each process of a measurement writes."""

    address: ServerAddress
    spool: Path
    seconds: int
    capped: bool


def _rate(load: _Load, processes: int) -> float:
    """Return how many attempts begin and end in a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.fleet"])
    gate = context.Barrier(processes)
    receiving, sending = context.Pipe(duplex=False)
    writers = [context.Process(target=_write, args=(load, gate, sending)) for _ in range(processes)]
    for writer in writers:
        writer.start()
    counts = [receiving.recv() for _ in writers]
    for writer in writers:
        writer.join()
    return float(sum(counts)) / load.seconds


def _write(load: _Load, gate: Barrier, counted: Connection) -> None:
    count = 0
    with PostgresLedger(load.address, load.spool) as ledger:
        ledger.recall(bucket=0, now_ms=0)
        gate.wait(120)
        until_s = time.monotonic() + load.seconds
        while time.monotonic() < until_s:
            _attempt(ledger, capped=load.capped)
            count += 1
    counted.send(count)


def _attempt(ledger: PostgresLedger, *, capped: bool) -> None:
    now_ms = time.time_ns() // 10**6
    made = row(unique(), at_ms=now_ms, deadline_ms=now_ms + 360_000)
    conditions = ([cap(10**17)], fixed(100)) if capped else ((), None)
    [refused] = ledger.write([Pending(made, *conditions)])
    if refused is not None:
        raise refused
    lesson = Observation("openai", "gpt", "", 0, now_ms, "mark", succeeded=True, ttft_s=0.5, per_token_s=0.01)
    assert ledger.write([Settled(settled(made, 50), lesson)]) == [None]


def _report(folder: Path, count: int, address: ServerAddress) -> Command:
    home = folder / f"home-{count}"
    home.mkdir()
    settings = {"LLMROUTE_CONFIG_DIR": str(home), "LLMROUTE_LEDGER": address.url}
    return Command((LLMROUTE, "costs", "--period", "month"), home, settings)


def _prune(address: ServerAddress, folder: Path, now_ms: int) -> Measurement:
    """Prune a year and a half while another process writes; return the longest wait of a write."""
    context = multiprocessing.get_context("forkserver")
    receiving, sending = context.Pipe(duplex=False)
    stop = context.Event()
    writer = context.Process(target=_write_until, args=(address, folder, stop, sending))
    writer.start()
    assert receiving.poll(60)
    with PostgresLedger(address, folder / "pruning") as ledger:
        started_s = time.monotonic()
        count = ledger.prune(now_ms - 180 * DAY_MS)
        took_s = time.monotonic() - started_s
    stop.set()
    receiving.recv()
    taken_ms = receiving.recv()
    writer.join()
    meanwhile = f"{len(taken_ms)} attempts meanwhile, median {median(taken_ms):.0f} ms"
    note = f"{count:,} rows pruned in {took_s:.1f} s; {meanwhile}"
    return Measurement("longest attempt during costs prune", "", 2_000, max(taken_ms), "ms", note=note)


def _write_until(address: ServerAddress, folder: Path, stop: Event, taken: Connection) -> None:
    taken_ms = []
    with PostgresLedger(address, folder / "spool") as ledger:
        _attempt(ledger, capped=True)
        taken.send("ready")
        while not stop.is_set():
            started_s = time.monotonic()
            _attempt(ledger, capped=True)
            taken_ms.append(1000 * (time.monotonic() - started_s))
    taken.send(taken_ms)

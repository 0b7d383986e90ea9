"""The ledger holds every attempt once, whoever else writes, and says in words when it cannot."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS
from llmroute.ledger.sqlite.store import Ledger
from tests.support.waiting import wait_until

NOW_MS = 1_790_000_000_000
BOUNDED_S = 30.0


def row(request_id: str = "r1", attempt: int = 1, **values: Any) -> AttemptRow:
    values = {"started_ms": NOW_MS, "provider": "openai", "model": "gpt-x", "streaming": False, **values}
    return AttemptRow(request_id=request_id, attempt=attempt, **values)


def rows(path: Path, columns: str = "*", table: str = "attempts") -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
    db.close()
    return found


def sound(path: Path) -> bool:
    return rows(path, "*, 1", "pragma_integrity_check") == [("ok", 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ledger.db"


def test_a_new_ledger_is_for_its_owner_alone_and_leaves_nothing_beside_it(path: Path) -> None:
    before = os.umask(0)
    try:
        with Ledger(path) as ledger:
            ledger.begin(row())
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]
    assert rows(path, "*, 1", "pragma_journal_mode") == [("wal", 1)]


def test_every_column_comes_back_as_it_was_written(path: Path) -> None:
    samples: dict[type, object] = {int: 7, str: "word", bool: True}
    values = {
        column: samples.get(next(iter(get_args(kind)), kind), "at_most")
        for column, kind in get_type_hints(AttemptRow).items()
    }
    with Ledger(path) as ledger:
        ledger.settle(AttemptRow(**values))  # type: ignore[arg-type]
        told = ledger.db.execute(f"SELECT {', '.join(COLUMNS)} FROM attempts").fetchone()
        assert told == tuple(values.values())
        assert ledger.db.execute("SELECT cost_usd FROM attempts").fetchone() == (7e-12,)


def test_an_attempt_is_pending_until_it_is_settled(path: Path) -> None:
    attempt = row()
    with Ledger(path) as ledger:
        ledger.begin(attempt)
        assert rows(path, "status, cost_picousd") == [("pending", None)]
        assert rows(path, "*", "rollups") == []
        attempt.status, attempt.cost_picousd = "ok", 5
        ledger.settle(attempt)
        assert rows(path, "status, cost_picousd") == [("ok", 5)]
        assert rows(path, "status, call_count, cost_picousd", "rollups") == [("ok", 1, 5)]


def test_what_is_settled_stays_as_it_is(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.begin(row())
        ledger.settle(row(status="ok", cost_picousd=5))
        ledger.settle(row(status="interrupted", cost_picousd=9))
        ledger.begin(row())
        assert rows(path, "status, cost_picousd") == [("ok", 5)]
        assert rows(path, "status, call_count, cost_picousd", "rollups") == [("ok", 1, 5)]


def test_an_attempt_that_was_thought_lost_may_still_be_told(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.settle(row(status="lost", cost_picousd=9))
        ledger.settle(row(status="ok", cost_picousd=5))
        assert rows(path, "status, cost_picousd") == [("ok", 5)]
        counted = rows(path, "status, call_count, cost_picousd, unknown_cost_count", "rollups")
        assert counted == [("lost", 0, 0, 0), ("ok", 1, 5, 0)]


def test_a_row_may_be_settled_without_having_begun(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.settle(row(status="ok"))
    assert rows(path, "status, attempt") == [("ok", 1)]


@pytest.mark.parametrize(
    "values", [{"workspace": "half a \ud800 character"}, {"cost_picousd": 2**63}, {"input_tokens": -(2**64)}]
)
def test_what_no_column_holds_is_a_ledger_error_and_leaves_the_ledger_usable(path: Path, values: Any) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError, match="cannot hold this call"):
            ledger.begin(row(**values))
        ledger.begin(row())
        assert len(rows(path)) == 1


def test_a_ledger_that_is_current_is_opened_without_a_write(path: Path) -> None:
    Ledger(path).close()
    before = path.read_bytes()
    Ledger(path).close()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    with Ledger(path) as ledger:
        ledger.begin(row())
    assert rows(path, "*, 1", "pragma_user_version") == [(len(MIGRATIONS), 1)]
    assert rows(path, "*, 1", "pragma_journal_mode") == [("wal", 1)]


def test_a_newer_ledger_is_refused_in_words_and_left_alone(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=f"of version 99 and this llmroute knows only {len(MIGRATIONS)}") as caught:
        Ledger(path)
    assert "update llmroute" in str(caught.value.hint)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE visits (url TEXT)")
    db.close()
    with pytest.raises(LedgerError, match="another program"):
        Ledger(path)
    assert rows(path, "name, 1", "sqlite_schema") == [("visits", 1)]


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(path) as ledger:
        ledger.begin(row())
    broken = (*MIGRATIONS, "ALTER TABLE attempts ADD COLUMN mood TEXT;\nALTER TABLE absent ADD COLUMN mood TEXT;")
    monkeypatch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", broken)
    with pytest.raises(LedgerError, match="no such table"):
        Ledger(path)
    monkeypatch.undo()
    with Ledger(path):
        assert len(rows(path)) == 1
        assert "mood" not in {name for _, name in rows(path, "cid, name", "pragma_table_info('attempts')")}


def test_a_migration_keeps_the_rows_of_an_older_ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(path) as ledger:
        ledger.begin(row())
    monkeypatch.setattr(
        "llmroute.ledger.sqlite.schema.migrations.MIGRATIONS",
        (*MIGRATIONS, "ALTER TABLE attempts ADD COLUMN mood TEXT;"),
    )
    with Ledger(path):
        assert rows(path, "request_id, mood") == [("r1", None)]


def test_an_older_ledger_keeps_what_it_knew_of_latencies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", MIGRATIONS[:3])
    with Ledger(path) as ledger:
        ledger.db.execute("INSERT INTO latencies VALUES ('openai', 'm', '', 0, 'ttft', 40.0, 40 * ln(2.0), 1000)")
    monkeypatch.undo()
    with Ledger(path) as ledger:
        told = ledger.recall(bucket=0, now_ms=1000)
        assert told.latencies["openai", "m", "", "ttft"] == pytest.approx((40.0, math.log(2), 0.2, 0.0, 1.6, 0.0))


def test_a_folder_in_the_ledgers_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="it is a directory") as caught:
        Ledger(tmp_path)
    assert "LLMROUTE_LEDGER" in str(caught.value.hint)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=f"the ledger {path} cannot be used"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path / "file" / "ledger.db")


READ_ONLY = """
import os, sys, tempfile
from pathlib import Path
from llmroute.errors import LedgerError
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
root = Path(tempfile.mkdtemp())
known = root / "known" / "ledger.db"
Ledger(known).close()
os.chmod(known, 0o444), os.chmod(known.parent, 0o555)
fresh = root / "fresh"
fresh.mkdir(mode=0o555)
os.chmod(root, 0o755)
root_user = os.geteuid() == 0
if root_user:
    os.seteuid(65534)
try:
    for path in (fresh / "ledger.db", fresh / "deeper" / "ledger.db", known):
        try:
            with Ledger(path) as ledger:
                ledger.begin(AttemptRow("r", 1, 1, "openai", "m", False))
        except LedgerError as error:
            print(error.message.partition("cannot be used: ")[2])
        else:
            print("written")
finally:
    if root_user:
        os.seteuid(0)
    import shutil
    for path in (known.parent, fresh):
        os.chmod(path, 0o755)
    shutil.rmtree(root)
"""


def test_a_folder_that_cannot_be_written_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=False)
    told = done.stdout.splitlines()
    assert len(told) == 3, done.stderr
    assert all(told)
    assert "written" not in told


def test_a_ledger_that_is_deleted_while_open_raises_nothing_foreign_and_is_made_anew(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.begin(row("before"))
        for file in path.parent.iterdir():
            file.unlink()
        with suppress(LedgerError):
            ledger.settle(row("before", status="ok"))
        with Ledger(path) as another:
            another.begin(row("after"))
        assert [request_id for request_id, _ in rows(path, "request_id, attempt")] == ["after"]
    assert sound(path)


def test_writing_to_a_closed_ledger_is_a_ledger_error(path: Path) -> None:
    ledger = Ledger(path)
    ledger.close()
    with pytest.raises(LedgerError):
        ledger.begin(row())


def test_reading_a_closed_ledger_is_a_ledger_error(path: Path) -> None:
    ledger = Ledger(path)
    ledger.close()
    with pytest.raises(LedgerError):
        ledger.retry_allowed("openai", 0)


def test_settling_waits_for_another_process_that_writes(path: Path) -> None:
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read(); db.execute('COMMIT')"
    )
    with Ledger(path, busy_timeout_s=BOUNDED_S) as ledger, ThreadPoolExecutor(1) as threads:
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            settling = threads.submit(ledger.settle, row(status="ok"))
            with pytest.raises(TimeoutError):
                settling.result(0.3)
            other.communicate()
            settling.result()
        assert len(rows(path)) == 1


def test_waiting_for_a_lock_ends(path: Path) -> None:
    Ledger(path).close()
    with (
        Ledger(path, busy_timeout_s=0.1) as ledger,
        Ledger(path) as other,
        other.connection.transaction(),
        pytest.raises(LedgerError, match="locked"),
    ):
        ledger.begin(row())
    with Ledger(path) as ledger:
        ledger.begin(row())


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    def insert_and_fail(ledger: Ledger) -> None:
        with ledger.connection.transaction() as db:
            db.execute(
                "INSERT INTO attempts (request_id, attempt, status, started_ms, provider, model, streaming,"
                " usage_source) VALUES ('x', 1, 'ok', 1, 'p', 'm', 0, 'none')"
            )
            raise KeyboardInterrupt

    with Ledger(path) as ledger:
        with pytest.raises(KeyboardInterrupt):
            insert_and_fail(ledger)
        assert rows(path) == []
        ledger.begin(row())


def test_threads_share_one_ledger(path: Path) -> None:
    with Ledger(path) as ledger:

        def write(worker: int) -> None:
            for number in range(20):
                attempt = row(f"{worker}-{number}")
                ledger.begin(attempt)
                attempt.status, attempt.cost_picousd = "ok", 1
                ledger.settle(attempt)

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert rows(path, "count(*), sum(status = 'ok')") == [(160, 160)]
    assert rows(path, "sum(call_count), sum(cost_picousd)", "rollups") == [(160, 160)]


WRITER = """
import sys, time
from pathlib import Path
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
path, worker, count, start = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
time.sleep(max(start - time.time(), 0))
with Ledger(path) as ledger:
    for number in range(count):
        row = AttemptRow(f"{worker}-{number}", 1, 1_790_000_000_000, "openai", "m", False)
        ledger.begin(row)
        row.status, row.cost_picousd, row.input_tokens = "ok", 3, 2
        ledger.settle(row)
"""


def run_writers(path: Path, processes: int, count: int) -> None:
    """Let so many processes open and write the ledger at the same moment."""
    start = time.time() + 0.02 * processes + 0.3
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(worker), str(count), str(start)], stderr=subprocess.PIPE
        )
        for worker in range(processes)
    ]
    told = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * processes, "".join(told)


def test_sixteen_processes_lose_no_row(path: Path) -> None:
    run_writers(path, 16, 20)
    assert rows(path, "count(*), sum(status = 'ok')") == [(320, 320)]
    assert rows(path, "sum(call_count), sum(cost_picousd)", "rollups") == [(320, 960)]
    assert sound(path)


FIFTY = """
import os, sys
from pathlib import Path
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger

def first_run(path, worker):
    with Ledger(path) as ledger:
        row = AttemptRow(f"r{worker}", 1, 1_790_000_000_000, "openai", "m", False)
        ledger.begin(row)
        row.status, row.cost_picousd = "ok", 3
        ledger.settle(row)

for turn in range(5):
    path = Path(sys.argv[1]) / str(turn) / "ledger.db"
    reader, writer = os.pipe()
    children = []
    for worker in range(50):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # all begin when the last one is there
            code = 1
            try:
                first_run(path, worker)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(writer)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    os.close(reader)
"""


def test_fifty_first_runs_at_once_are_fifty_rows_five_times_running(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FIFTY, str(tmp_path)], check=True, timeout=120)
    for turn in range(5):
        path = tmp_path / str(turn) / "ledger.db"
        assert rows(path, "count(*), sum(status = 'ok'), sum(cost_picousd)") == [(50, 50, 150)]
        assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]
        assert sound(path)


def test_processes_that_make_the_ledger_at_once_make_one(path: Path) -> None:
    run_writers(path, 16, 1)
    assert rows(path, "count(*), sum(status = 'ok')") == [(16, 16)]
    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]
    assert sound(path)


def test_processes_that_migrate_one_file_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    run_writers(path, 12, 1)
    assert rows(path, "count(*), sum(status = 'ok')") == [(12, 12)]


def test_a_writer_that_is_killed_leaves_a_sound_ledger(path: Path) -> None:
    Ledger(path).close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "k", "100000", "0"])
    try:
        wait_until(lambda: rows(path, "count(*), 1")[0][0] >= 20)
    finally:
        writer.kill()
        writer.wait()
    assert sound(path)
    [(settled, counted)] = rows(path, "sum(status = 'ok'), (SELECT sum(call_count) FROM rollups)")
    assert settled == counted >= 10


def test_a_ledger_that_is_left_has_what_was_written_in_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.settle(AttemptRow("r", 1, 1_000, "openai", "m", streaming=False, status="ok"))
    ledger.leave()
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    with Ledger(copy) as another:
        assert another.db.execute("SELECT request_id FROM attempts").fetchall() == [("r",)]


def test_a_ledger_that_is_left_while_another_reads_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as other, other.connection.transaction():
        ledger = Ledger(path, busy_timeout_s=10 * BOUNDED_S)
        began = time.monotonic()
        ledger.leave()
        assert time.monotonic() - began < BOUNDED_S


@pytest.mark.parametrize("kind", ["a device", "a pipe"])
def test_what_keeps_nothing_is_no_place_for_a_ledger(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/null")
    if kind == "a pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(LedgerError, match="it is not a regular file"):
        Ledger(path)

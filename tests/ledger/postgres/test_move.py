"""A SQLite ledger is copied into a server: rows, sums and statistics, once, however often it is begun."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.jobs import Job, JobLine, LineEnd, NewLine
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.maintenance import move as moving
from llmroute.ledger.postgres.maintenance import move_jobs
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics.values import CheckResult, Observation
from tests.ledger.calls import FOREVER_MS, NOW_MS, cap, fixed, model_lines, row, settled
from tests.ledger.stores import address, postgres

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger.maintenance import Moved
    from llmroute.ledger.statistics.values import StatsSnapshot
    from llmroute.ledger_location import ServerAddress

__all__ = ["address", "postgres"]

DAY_MS = 86_400_000
ROWS = 25


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger of two models, a pruned quarter of a year, and a pending call."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for number in range(ROWS):
            made = row(f"r{number}", at_ms=NOW_MS - number * 10 * DAY_MS, model=f"m{number % 2}", workspace="team")
            told = Observation(
                "openai",
                f"m{number % 2}",
                "",
                0,
                NOW_MS + number,
                "m",
                succeeded=number % 5 > 0,
                ttft_s=2.0 + number % 3,
                task="chat",
                output_tokens=50,
            )
            ledger.settle(settled(made, 10 + number), told)
            ledger.settle(made, CheckResult("openai", f"m{number % 2}", "chat", NOW_MS, passed=number % 2 == 0))
        ledger.begin(row("pending"))
        ledger.prune(NOW_MS - 100 * DAY_MS)
    return path


def move(address: ServerAddress, file: Path) -> tuple[Moved, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    connection = ServerConnection(address)
    try:
        return moving.move(connection, file, NOW_MS, lambda read, total: told.append((read, total))), told
    finally:
        connection.close()


def check_equal(file: Path, address: ServerAddress, folder: Path) -> None:
    with Ledger(file) as source, PostgresLedger(address, folder / "server") as target:
        assert model_lines(target, None, FOREVER_MS) == model_lines(source, None, FOREVER_MS)
        with source.snapshot() as one, target.snapshot() as other:
            wanted = AttemptFilter(status="ok")
            rows = [[*map(without_id, snapshot.attempts(wanted))] for snapshot in (one, other)]
        assert rows[0] == rows[1]


def without_id(attempt: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attempt.items() if name != "id"}


def statistics(known: StatsSnapshot) -> dict[str, Any]:
    """Return what is learned, without circuits, whose times are those of two clocks."""
    return {
        name: {key: pytest.approx(value, rel=1e-4) for key, value in getattr(known, name).items()}
        for name in ("latencies", "output_lengths", "reliabilities", "check_results")
    }


def test_rows_sums_and_statistics_are_copied_once(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    done, told = move(address, file)
    assert done == (11, 0, 1, 0, (0, 0))
    assert told == [(11, 11)]
    check_equal(file, address, tmp_path)
    again, _ = move(address, file)
    assert again == (0, 11, 1, 0, (0, 0))
    check_equal(file, address, tmp_path)
    with Ledger(file) as source, PostgresLedger(address, tmp_path / "server") as target:
        target.recall(bucket=0, now_ms=0)
        known = target._recalled(anew=False).memory.snapshot(bucket=0, task="chat", now_ms=NOW_MS + ROWS)
        expected = source.recall(bucket=0, task="chat", now_ms=NOW_MS + ROWS)
        assert known.latencies.keys() == expected.latencies.keys()
        assert statistics(expected) == {name: getattr(known, name) for name in statistics(expected)}
        assert len(expected.latencies) == len(expected.check_results) == 2
        with target.snapshot() as snapshot:
            [status] = snapshot.budget_statuses([cap(1)])
        assert status.spent_picousd == sum(10 + number for number in range(ROWS))


def test_statistics_are_added_to_those_of_the_server(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    seen = Observation("openai", "m0", "", 0, NOW_MS, "m", succeeded=True, task="chat", output_tokens=80)
    with PostgresLedger(address, tmp_path / "server") as ledger:
        ledger.write([Settled(settled(row("own"), 1), seen)])
    move(address, file)
    with PostgresLedger(address, tmp_path / "server") as ledger:
        known = ledger._recalled(anew=True).memory.snapshot(bucket=0, task="chat", now_ms=NOW_MS + ROWS)
        assert known.reliabilities["openai", "m0"] == pytest.approx((11, 14), rel=1e-4)
        assert known.output_lengths["openai", "m0", ""][:2] == pytest.approx((14, 13 * 50 + 80), rel=1e-4)
        assert known.check_results["openai", "m0"] == pytest.approx((13, 13), rel=1e-4)


def test_a_copy_that_breaks_off_goes_on_where_it_ended(
    file: Path, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BATCH", 3)
    calls = []

    class Breaking(ServerConnection):
        def call_at_length(self, function: str, *values: Any) -> Any:
            calls.append(function)
            if calls.count("move_1") == 3:
                raise LedgerError("the server is away")
            return super().call_at_length(function, *values)

    with closing(Breaking(address)) as breaking, pytest.raises(LedgerError):
        moving.move(breaking, file, NOW_MS, lambda _read, _total: None)
    done, told = move(address, file)
    assert done == (5, 6, 1, 0, (0, 0))
    assert told == [(3, 5), (5, 5)]
    check_equal(file, address, tmp_path)


def test_windows_that_are_open_count_what_is_copied(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    total = cap(10_000)
    with PostgresLedger(address, tmp_path / "server") as ledger:
        ledger.write([Pending(row("own"), [total], fixed(5))])
        move(address, file)
        with ledger.connection.transaction() as db:
            found = db.execute(b"SELECT spent_picousd, reserved_picousd FROM llmroute.windows").fetchone()
    assert found == (sum(10 + number for number in range(ROWS)), 5)


def test_a_call_that_was_under_way_is_copied_once_it_has_ended(
    file: Path, address: ServerAddress, tmp_path: Path
) -> None:
    with Ledger(file) as ledger:
        ledger.settle(settled(row("after"), 7))
    assert move(address, file)[0] == (12, 0, 1, 0, (0, 0))
    with Ledger(file) as ledger:
        ledger.settle(settled(row("pending"), 5))
    assert move(address, file)[0] == (1, 12, 0, 0, (0, 0))
    assert move(address, file)[0] == (0, 13, 0, 0, (0, 0))
    with Ledger(file) as source, PostgresLedger(address, tmp_path / "server") as target:
        assert model_lines(target, None, FOREVER_MS) == model_lines(source, None, FOREVER_MS)


def test_a_ledger_is_the_same_under_another_name(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    move(address, file)
    renamed = tmp_path / "renamed.db"
    with Ledger(file) as ledger:
        ledger.backup(renamed)
    assert move(address, renamed)[0] == (0, 11, 1, 0, (0, 0))
    check_equal(file, address, tmp_path)


def test_a_copy_that_went_on_by_itself_is_copied_too(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with Ledger(file) as ledger:
        ledger.backup(other)
    for path in (file, other):
        with Ledger(path) as ledger:
            ledger.settle(settled(row("pending"), 5))
            ledger.settle(settled(row(path.stem), 7))
    assert move(address, file)[0] == (13, 0, 0, 0, (0, 0))
    assert move(address, other)[0] == (1, 12, 0, 0, (0, 0))
    assert move(address, file)[0] == (0, 13, 0, 0, (0, 0))
    with PostgresLedger(address, tmp_path / "server") as target, target.snapshot() as snapshot:
        [status] = snapshot.budget_statuses([cap(1)])
    assert status.spent_picousd == sum(10 + number for number in range(ROWS)) + 5 + 2 * 7


def test_what_is_pruned_between_two_runs_is_in_the_sums(
    file: Path, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BATCH", 3)

    def break_off(_connection: ServerConnection) -> None:
        raise LedgerError("the server is away")

    with closing(ServerConnection(address)) as connection, monkeypatch.context() as breaking:
        breaking.setattr(moving, "merge", break_off)
        with pytest.raises(LedgerError):
            moving.move(connection, file, NOW_MS, lambda _read, _total: None)
    with Ledger(file) as ledger:
        ledger.settle(settled(row("pending"), 5))
        ledger.prune(NOW_MS - 15 * DAY_MS)
    move(address, file)
    with Ledger(file) as source, PostgresLedger(address, tmp_path / "server") as target:
        assert model_lines(target, None, FOREVER_MS) == model_lines(source, None, FOREVER_MS)
    assert ServerMaintenance(address, tmp_path / "server").check(datetime.now(UTC)).sound


def test_calls_that_the_server_pruned_are_counted_once(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    move(address, file)
    with PostgresLedger(address, tmp_path / "server") as target:
        assert target.prune(NOW_MS - 45 * DAY_MS) > 0
    renamed = tmp_path / "renamed.db"
    with Ledger(file) as ledger:
        ledger.backup(renamed)
        before = model_lines(ledger, None, FOREVER_MS)
    with Ledger(renamed) as ledger, ledger.connection.transaction() as db:
        # It went on in another way: all its rows are sent again.
        db.execute("UPDATE attempts SET id = id + 1000")
    assert move(address, renamed)[0] == (0, 11, 1, 0, (0, 0))
    with PostgresLedger(address, tmp_path / "server") as target:
        assert model_lines(target, None, FOREVER_MS) == before


def test_calls_that_the_server_prunes_while_they_are_copied_again_are_counted_once(
    file: Path, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(address, file)
    monkeypatch.setattr(moving, "BATCH", 5)
    with closing(ServerConnection(address)) as connection, PostgresLedger(address, tmp_path / "server") as server:

        def pruning(_read: int, _total: int) -> None:
            server.prune(NOW_MS - 20 * DAY_MS)

        # As after the move of another copy of the file.
        connection.execute(f"UPDATE {connection.schema}.moves SET last_call = ''")
        with pytest.raises(LedgerError, match="pruned here while they were copied; run the command again"):
            moving.move(connection, file, NOW_MS, pruning)
    move(address, file)
    with Ledger(file) as source, PostgresLedger(address, tmp_path / "server") as target:
        assert model_lines(target, None, FOREVER_MS) == model_lines(source, None, FOREVER_MS)
    assert ServerMaintenance(address, tmp_path / "server").check(datetime.now(UTC)).sound


def test_calls_of_clones_that_were_pruned_and_are_not_taken_are_counted(
    file: Path, address: ServerAddress, tmp_path: Path
) -> None:
    clone = tmp_path / "clone.db"
    at_ms = NOW_MS - 50 * DAY_MS
    with Ledger(file) as ledger:
        ledger.backup(clone)
    for path, count in ((file, 3), (clone, 2)):
        with Ledger(path) as ledger:
            for number in range(count):
                ledger.settle(settled(row(f"{path.stem}-{number}", at_ms=at_ms, model="own"), 7))
            ledger.prune(NOW_MS - 40 * DAY_MS)
    assert move(address, file)[0].untaken == (0, 0)
    assert move(address, clone)[0].untaken == (2, 14)
    assert move(address, file)[0].untaken == (0, 0)


def test_collected_jobs_are_copied_and_open_ones_stay(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    collected, left = (
        Job(name, name, "/out", "in", "opts", "openai", "gpt", "done", 0, NOW_MS, NOW_MS, delivered_ms=at_ms)
        for name, at_ms in (("job", NOW_MS), ("job1", None))
    )
    lines = [NewLine(JobLine(n, n, f'"{n}"', "reserved", 5, 9, None, 50), Pending(row(f"job-{n}"))) for n in (0, 5)]
    with Ledger(file) as source:
        source.jobs.add(left)
        source.jobs.add(collected)
        source.jobs.reserve("job", lines)
        source.jobs.settle("job", [LineEnd(line.n, "answered", settled(new.row, 3)) for line, new in lines])
        sums = source.jobs.sums("job")
    assert move(address, file)[0] == (13, 0, 1, 1, (0, 0))
    assert move(address, file)[0] == (0, 13, 1, 1, (0, 0))
    with PostgresLedger(address, tmp_path / "server") as target:
        assert [(job.id, job.lines) for job in target.jobs.jobs()] == [("job", 2)]
        assert (target.jobs.sums("job"), sums.cost_picousd) == (sums, 6)
        target.backup(tmp_path / "copy.db")
        with Ledger(tmp_path / "copy.db") as copy:
            assert copy.jobs.jobs() == target.jobs.jobs()
            assert copy.jobs.lines("job", 0, 9) == target.jobs.lines("job", 0, 9)


def test_a_job_that_lost_lines_to_damage_is_moved_with_the_others(
    file: Path, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_jobs, "_AT_ONCE", 2)
    job = Job("job", "job", "/out", "in", "opts", "openai", "gpt", "done", 0, NOW_MS, NOW_MS, delivered_ms=NOW_MS)
    numbers = (0, 5, 6, 2_000, 2_001, 2_002)
    lines = [NewLine(JobLine(n, n, f'"{n}"', "answered", 5, 9, None, 50), Pending(row(f"job-{n}"))) for n in numbers]
    with Ledger(file) as source:
        source.jobs.add(job)
        source.jobs.reserve("job", lines)
        source.db.execute("DELETE FROM job_lines WHERE n = 5")
    move(address, file)
    with PostgresLedger(address, tmp_path / "server") as target:
        assert [line.n for line in target.jobs.lines("job", 0, 9_999)] == [0, 6, 2_000, 2_001, 2_002]


def test_a_schema_for_newer_clients_is_not_written(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "server") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        with ledger.connection.transaction() as db:
            db.execute(b"UPDATE llmroute.version SET version = 9, oldest_client = 9")
    with pytest.raises(LedgerError, match="9 or newer"):
        move(address, file)


def test_a_copy_of_the_server_itself_adds_nothing_to_it(file: Path, address: ServerAddress, tmp_path: Path) -> None:
    move(address, file)
    with PostgresLedger(address, tmp_path / "server") as target:
        target.backup(tmp_path / "copy.db")
    assert move(address, tmp_path / "copy.db")[0][:2] == (0, 11)
    check_equal(file, address, tmp_path)


def test_labels_that_older_versions_took_are_shortened_for_the_keys_of_the_server(
    address: ServerAddress, tmp_path: Path
) -> None:
    # Random text, which an index cannot compress.
    chance = random.Random(1)
    label = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(6_000))
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for request, at_ms in (("pruned", NOW_MS - 200 * DAY_MS), ("kept", NOW_MS)):
            ledger.settle(settled(row(request, at_ms=at_ms, workspace=label, model=label), 7))
        ledger.prune(NOW_MS - 100 * DAY_MS)
    move(address, path)
    with PostgresLedger(address, tmp_path / "server") as target:
        assert target.write([Settled(settled(row("direct", workspace=label, model=label), 5))]) == [None]
        assert target.connection.call("merge_1", 1_000) > 0
        [line] = model_lines(target, None, FOREVER_MS, label[:256])
        assert (line.key["model"], line.cost_picousd) == (label[:256], 19)


def test_a_call_whose_labels_no_server_stores_is_on_the_bill_and_in_the_statistics(
    address: ServerAddress, tmp_path: Path
) -> None:
    made = settled(row("one", model="gpt\0"), 5)
    lesson = Observation("openai", "gpt\0", "", 0, NOW_MS, "mark", succeeded=True, ttft_s=0.5)
    with PostgresLedger(address, tmp_path / "server") as ledger:
        assert ledger.write([Settled(made, lesson)]) == [None]
        ledger.recall(bucket=0, now_ms=0)
        [(model, learned)] = ledger.connection.execute(
            "SELECT attempts.model, lesson ->> 'model' FROM llmroute.attempts CROSS JOIN llmroute.lessons"
        )
    assert model == learned == "gpt\ufffd"

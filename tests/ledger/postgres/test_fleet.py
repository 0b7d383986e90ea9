"""Many hosts on one server: caps, sums and reservations are exact while processes and the server are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute.errors import AuthenticationError, BudgetExceededError, CircuitOpenError, LedgerError
from llmroute.execution.accounting.budget import Admission, RequestBudget
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.operations import Begin
from llmroute.ledger import spool
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.jobs import Job
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.postgres import bounded_connection, writes
from llmroute.ledger.postgres.entries import as_json, settle_json
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.schema import migrations
from llmroute.ledger.postgres.schema.lost_attempts import GIVEN_UP_AT_ONCE
from llmroute.ledger.postgres.shared_caps import set_cap
from llmroute.ledger.postgres.statistics import MANY_LESSONS, upkeep
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.statistics.values import Observation, ProbeClaim
from llmroute.ledger_location import LedgerLocation, ServerAddress
from llmroute.routing.fallback import RULES
from tests.ledger.calls import cap, fixed, row, settled
from tests.ledger.stores import address, pgbouncer, pooled, postgres
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llmroute.ledger.budgets import SharedCap
    from llmroute.worst_case import WorstCase

__all__ = ["address", "pgbouncer", "pooled", "postgres"]

PROCESSES, CALLS = 16, 25
CAP = cap(30_000)
DEADLINE_MS = 4_000


def host(number: int, address: ServerAddress, folder: Path) -> None:
    """Make calls, as one process of a host does; what the server did not take is sent again."""
    chance = random.Random(number)
    with PostgresLedger(address, folder / f"host{number % 4}") as ledger:
        for one in range(CALLS):
            now_ms = time.time_ns() // 1_000_000
            made = row(f"p{number}-{one}", at_ms=now_ms, deadline_ms=now_ms + DEADLINE_MS, host=f"host{number % 4}")
            made.cost_basis = "at_most"
            if persist(ledger, Pending(made, [CAP], worst=fixed_cost(chance))):
                time.sleep(chance.random() / 50)
                lesson = Observation("openai", "gpt", "", 0, now_ms, "mark", succeeded=True, ttft_s=0.5)
                persist(ledger, Settled(settled(made, (made.reserved_picousd or 0) // 2), lesson))


def fixed_cost(chance: random.Random) -> WorstCase:
    return fixed(chance.randint(50, 150))


def persist(ledger: PostgresLedger, entry: Pending | Settled) -> bool:
    """Send an entry until the server takes or refuses it; one that was slow to refuse is left alone for 30 s."""
    until_s = time.monotonic() + 90
    while time.monotonic() < until_s:
        [outcome] = ledger.write([entry])
        if not isinstance(outcome, LedgerError):
            assert outcome is None or isinstance(outcome, BudgetExceededError)
            return outcome is None
        time.sleep(0.05)
    raise AssertionError(outcome)


def test_a_cap_is_exact_while_hosts_and_the_server_are_killed(tmp_path: Path) -> None:
    with PostgresServer() as server:
        address = ServerAddress(server.database())
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=host, args=(number, address, tmp_path)) for number in range(PROCESSES)]
        for process in processes:
            process.start()
        until_s = time.monotonic() + 60
        database = address.url.rpartition("/")[2]
        while attempts(server, database) < 40 and time.monotonic() < until_s:
            time.sleep(0.05)
        for victim in processes[:4]:
            os.kill(victim.pid or 0, signal.SIGKILL)
        for _ in range(2):
            server.stop()
            server.start()
            time.sleep(0.5)
        for process in processes:
            process.join(200)
        assert [process.exitcode for process in processes[4:]] == [0] * (PROCESSES - 4)
        time.sleep(DEADLINE_MS / 1000)
        with PostgresLedger(address, tmp_path / "audit") as ledger:
            ledger.recall(bucket=0, now_ms=0)
            with ledger.snapshot() as snapshot:
                rows = list(snapshot.attempts(AttemptFilter()))
                [status] = snapshot.budget_statuses([CAP])
        spent = sum(one["cost_picousd"] for one in rows)
        assert {one["status"] for one in rows} <= {"ok", "lost"}
        assert (status.spent_picousd, status.reserved_picousd) == (spent, 0)
        assert spent <= CAP.cap_picousd
        for number in range(4, PROCESSES):
            own = [one for one in rows if one["request_id"].startswith(f"p{number}-")]
            assert all(one["status"] == "ok" for one in own), "a call that was settled is not lost"
        report = ServerMaintenance(address, tmp_path / "audit").check(datetime.now(UTC))
        assert report.sound, report.faults
        [(window_spent, window_reserved)] = server.execute(
            "SELECT spent_picousd, reserved_picousd FROM llmroute.windows", database
        )
        assert (window_spent, window_reserved) == (spent, 0)
        assert "deadlock" not in server.log()


def test_a_cap_is_exact_through_pgbouncer(pooled: ServerAddress, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=host, args=(number, pooled, tmp_path)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * 8
    with PostgresLedger(pooled, tmp_path / "audit") as ledger, ledger.snapshot() as snapshot:
        rows = list(snapshot.attempts(AttemptFilter()))
        [status] = snapshot.budget_statuses([CAP])
    assert {one["status"] for one in rows} == {"ok"}
    assert (status.spent_picousd, status.reserved_picousd) == (sum(one["cost_picousd"] for one in rows), 0)
    assert len(rows) == 8 * CALLS


def attempts(server: PostgresServer, database: str) -> int:
    import psycopg

    try:
        return int(server.execute("SELECT count(*) FROM llmroute.attempts", database)[0][0])
    except psycopg.Error:
        return 0


def first_call(number: int, address: ServerAddress, folder: Path) -> None:
    # So many processes at once take longer for a statement than a busy server does.
    patch = pytest.MonkeyPatch()
    for module, name in ((bounded_connection, "REPLY_S"), (writes, "REPLY_S"), (bounded_connection, "LOCK_WAIT_S")):
        patch.setattr(module, name, PATIENCE_S)
    with PostgresLedger(address, folder / str(number), wait_s=PATIENCE_S) as ledger:
        assert ledger.write([Settled(settled(row(f"first{number}"), 1))]) == [None]


def test_fifty_hosts_that_come_first_together_create_the_schema_once(address: ServerAddress, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    patient = ServerAddress(f"{address.url}?connect_timeout={PATIENCE_S:.0f}")
    processes = [context.Process(target=first_call, args=(number, patient, tmp_path)) for number in range(50)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0] * 50
    with PostgresLedger(address, tmp_path / "audit") as ledger, ledger.snapshot() as snapshot:
        assert len(list(snapshot.attempts(AttemptFilter()))) == 50


def test_sums_and_statistics_stay_the_same_when_they_are_merged(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        for number in range(MANY_LESSONS + 6):
            lesson = Observation("openai", "gpt", "", 0, 1_000 + number, "m", succeeded=number % 3 > 0, ttft_s=1.0)
            ledger.write([Settled(settled(row(f"r{number}"), 10), lesson)])
        before = ledger.recall(bucket=0, now_ms=0)
        known = ledger._recalled(anew=True)
        assert known.needs_upkeep
        upkeep(ledger.connection, known)
        upkeep(ledger.connection, known)
        with ledger.connection.transaction() as db:
            assert db.execute(b"SELECT count(*) FROM llmroute.lessons").fetchone() == (0,)
            assert db.execute(b"SELECT count(*) FROM llmroute.deltas").fetchone() == (0,)
            [cost] = db.execute(b"SELECT sum(cost_picousd) FROM llmroute.rollups").fetchone() or [0]
            assert cost == (MANY_LESSONS + 6) * 10
        after = ledger.recall(bucket=0, now_ms=0)
        assert after.reliabilities["openai", "gpt"] == pytest.approx(before.reliabilities["openai", "gpt"], rel=1e-6)
    assert ServerMaintenance(address, tmp_path / "one").check(datetime.now(UTC)).sound


def test_wrong_sums_are_found_and_corrected(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.write([Pending(row("p"), [CAP], fixed_cost(random.Random(1))), Settled(settled(row("s"), 10))])
        with ledger.connection.transaction() as db:
            db.execute(b"UPDATE llmroute.deltas SET cost_picousd = 11")
            db.execute(b"UPDATE llmroute.windows SET spent_picousd = 12")
    maintenance = ServerMaintenance(address, tmp_path / "one")
    now = datetime.now(UTC)
    assert len(maintenance.check(now).faults) == 2
    assert maintenance.repair(now).after.sound
    assert maintenance.check(now).sound


def test_a_lost_connection_is_opened_again_for_the_same_write(tmp_path: Path) -> None:
    with PostgresServer() as server, PostgresLedger(ServerAddress(server.database()), tmp_path / "one") as ledger:
        assert ledger.write([Pending(row("one"))]) == [None]
        server.stop()
        [away] = ledger.write([Pending(row("two"))])
        assert isinstance(away, LedgerError)
        assert "cannot be reached" in away.message
        server.start()
        assert ledger.write([Pending(row("two"))]) == [None]


def test_a_newer_schema_is_refused_only_below_its_oldest_client(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        with ledger.connection.transaction() as db:
            db.execute(b"UPDATE llmroute.version SET version = 99")
        ledger.recall(bucket=0, now_ms=0)
        with ledger.connection.transaction() as db:
            db.execute(b"UPDATE llmroute.version SET oldest_client = 98")
        with pytest.raises(LedgerError, match="98 or newer"):
            ledger.recall(bucket=0, now_ms=0)


def test_an_older_server_is_refused(address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmroute.ledger.postgres.connecting.OLDEST_SERVER", 99)
    with (
        PostgresLedger(address, tmp_path / "one") as ledger,
        pytest.raises(LedgerError, match="needs PostgreSQL 99 or newer"),
    ):
        ledger.recall(bucket=0, now_ms=0)


def test_roles_with_the_documented_grants_write_and_read(postgres: PostgresServer, tmp_path: Path) -> None:
    database = postgres.database().rpartition("/")[2]
    with PostgresLedger(ServerAddress(postgres.url(database)), tmp_path / "owner") as ledger:
        ledger.write([Settled(settled(row("one"), 1))])
    for role in ("caller", "reader", "stranger"):
        name = f"{role}_{database}"
        postgres.execute(f"CREATE ROLE {name} LOGIN")
        if role != "stranger":
            rights = "SELECT, INSERT, UPDATE, DELETE" if role == "caller" else "SELECT"
            postgres.execute(f"GRANT USAGE ON SCHEMA llmroute TO {name}", database)
            postgres.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA llmroute TO {name}", database)
    postgres.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA llmroute TO caller_{database}", database)

    def as_role(role: str) -> PostgresLedger:
        return PostgresLedger(ServerAddress(postgres.url(database, f"{role}_{database}")), tmp_path / role)

    month_ms = 31 * 24 * 3_600_000
    with as_role("caller") as ledger:
        made = row("two", at_ms=row("x").started_ms + 2 * month_ms)
        assert ledger.write([Pending(made, [CAP], fixed_cost(random.Random(1)))]) == [None]
        assert ledger.write([Settled(settled(made, 1))]) == [None]
    with as_role("reader") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        with ledger.snapshot() as snapshot:
            assert len(list(snapshot.attempts(AttemptFilter()))) == 2
        [refusal] = ledger.write([Pending(row("three"))])
        assert isinstance(refusal, LedgerError)
        assert "permission denied" in refusal.message
    with as_role("stranger") as ledger, pytest.raises(LedgerError, match="permission denied"):
        ledger.recall(bucket=0, now_ms=0)


def test_tables_of_a_newer_version_are_added_once_and_have_the_grants_of_attempts(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres.database().rpartition("/")[2]
    address = ServerAddress(postgres.url(database))
    with monkeypatch.context() as older, PostgresLedger(address, tmp_path / "older") as ledger:
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        older.setattr(migrations, "CLIENT_VERSION", 1)
        ledger.write([Settled(settled(row("one"), 1))])
    for role, rights in (("writer", "SELECT, INSERT, UPDATE, DELETE"), ("looker", "SELECT")):
        name = f"{role}_{database}"
        postgres.execute(f"CREATE ROLE {name} LOGIN")
        postgres.execute(f"GRANT USAGE ON SCHEMA llmroute TO {name}", database)
        postgres.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA llmroute TO {name}", database)

    def as_role(role: str) -> PostgresLedger:
        return PostgresLedger(ServerAddress(postgres.url(database, f"{role}_{database}")), tmp_path / role)

    with as_role("looker") as ledger, pytest.raises(LedgerError, match="permission denied") as refused:
        ledger.jobs.jobs()
    assert "its owner" in str(refused.value.hint)
    with as_role("looker") as ledger:
        with pytest.raises(LedgerError, match="has version 1, and this command needs version") as refused:
            ledger.backup(tmp_path / "copy.db")
        assert refused.value.hint == "have its owner run: llmroute costs check"
    threads = [threading.Thread(target=lists_jobs, args=(address, tmp_path / str(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert postgres.execute("SELECT version, oldest_client FROM llmroute.version", database) == [
        (migrations.CLIENT_VERSION, 1)
    ]
    with as_role("writer") as ledger:
        ledger.jobs.add(Job("job", "run", "/out", "in", "opts", "openai", "gpt", "submitting", 0, 1, 2))
    with as_role("looker") as ledger:
        assert [job.id for job in ledger.jobs.jobs()] == ["job"]
        with pytest.raises(LedgerError, match="permission denied"):
            ledger.jobs.deliver("run", 1)


def lists_jobs(address: ServerAddress, path: Path) -> None:
    with PostgresLedger(address, path) as ledger:
        assert ledger.jobs.jobs() == []


def test_an_attempt_under_caps_that_changed_meanwhile_is_made_anew(address: ServerAddress, tmp_path: Path) -> None:
    warnings: list[str] = []
    location = LedgerLocation(tmp_path / "one", address)
    with PostgresLedger(address, tmp_path / "two") as other:
        writer = LedgerWriter(location, warnings.append)
        writer.statistics.recall(bucket=0, now_ms=0)
        admission = Admission(fixed(100), RequestBudget())
        assert writer.begin(Begin(row("free"), admission, Clock())) is None
        set_cap(other.connection, "", "total", 150, "UTC")
        with pytest.raises(BudgetExceededError):
            writer.begin(Begin(row("capped"), admission, Clock()))
        set_cap(other.connection, "", "total", 250, "UTC")
        writer.begin(Begin(row("raised"), admission, Clock()))
        writer.access.close()
        with other.snapshot() as snapshot:
            assert [one["request_id"] for one in snapshot.attempts(AttemptFilter())] == ["free", "raised"]


def test_a_host_whose_spool_is_not_taken_in_obeys_new_caps_nevertheless(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "other") as other, PostgresLedger(address, tmp_path / "own") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        spool.keep(settled(row("waits"), 1), ledger.path)
        set_cap(other.connection, "", "total", 250, "UTC")
        with psycopg.connect(address.url) as holding:
            holding.execute("LOCK TABLE llmroute.windows IN SHARE MODE")
            with pytest.raises(LedgerError, match="lock timeout"):
                ledger.tend(0, LockTimeout(0))
        assert ledger.shared_caps == other_caps(other)
        assert spool.waiting(ledger.path)


def other_caps(other: PostgresLedger) -> Sequence[SharedCap] | None:
    """Return the caps of all hosts as another one sees them."""
    other.recall(bucket=0, now_ms=0)
    assert other.shared_caps
    return other.shared_caps


def test_a_server_that_does_not_answer_is_waited_for_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = ServerAddress(f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/db")
        with PostgresLedger(address, tmp_path / "one") as ledger, PostgresLedger(address, tmp_path / "two") as other:
            for one in (ledger, ledger, other):
                [outcome] = one.write([Pending(row("one"))])
                assert isinstance(outcome, LedgerError)
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_attempts_of_dead_hosts_are_settled_in_turns(address: ServerAddress, tmp_path: Path) -> None:
    many = GIVEN_UP_AT_ONCE + 50
    now_ms = time.time_ns() // 1_000_000
    with PostgresLedger(address, tmp_path / "one") as ledger, psycopg.connect(address.url, autocommit=True) as db:
        entries = [
            Pending(row(f"dead {n}", at_ms=now_ms - n, deadline_ms=now_ms - n, cost_basis="at_most"), [CAP], fixed(10))
            for n in range(many)
        ]
        assert set(ledger.write(entries)) == {None}

        def pending() -> tuple[object, ...] | None:
            return db.execute(b"SELECT count(*) FROM llmroute.attempts WHERE status = 'pending'").fetchone()

        ledger.recall(bucket=0, now_ms=0)
        assert pending() == (50,)
        with psycopg.connect(address.url) as other:
            other.execute("SELECT pg_advisory_xact_lock(hashtext('llmroute give up'), hashtext('llmroute'))")
            ledger.recall(bucket=0, now_ms=0)
            assert pending() == (50,), "another process is at it"
        ledger.fill_sums()
        assert pending() == (0,)
        with ledger.snapshot() as snapshot:
            [status] = snapshot.budget_statuses([CAP])
        assert (status.spent_picousd, status.reserved_picousd) == (10 * many, 0)


def test_a_report_settles_all_attempts_of_dead_hosts(address: ServerAddress, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    with PostgresLedger(address, tmp_path / "one") as ledger:
        made = [row(f"dead {n}", at_ms=now_ms, deadline_ms=now_ms - 1) for n in range(2 * GIVEN_UP_AT_ONCE + 1)]
        ledger.write([Pending(one) for one in made])
        ledger.fill_sums()
        with ledger.snapshot() as snapshot:
            assert {one["status"] for one in snapshot.attempts(AttemptFilter())} == {"lost"}


def test_a_failure_that_is_committed_after_a_later_one_stops_an_attempt(address: ServerAddress, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    trip = RULES[AuthenticationError].trip
    failed = Observation("openai", "gpt", "", 0, now_ms, "mark", trip=trip)
    late = settle_json(Settled(settled(row("late"), 0, "failed"), failed))
    learned = Observation("mistral", "large", "", 0, now_ms, "mark", succeeded=True)
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.write([Settled(settled(row("first"), 1))])
        with psycopg.connect(address.url) as other:
            other.execute("SELECT llmroute.write_1(%s, '[]', 1000, NULL)", (as_json([late]),))
            assert ledger.write([Settled(settled(row("early"), 1), learned)]) == [None]
            ledger.recall(bucket=0, now_ms=0)
        claim = ProbeClaim("me", now_ms, now_ms + 60_000, "mark")
        [refusal] = ledger.write([Pending(row("next"), claim=claim)])
        assert isinstance(refusal, CircuitOpenError)
        [other_provider] = ledger.write([Pending(row("other", provider="mistral"), claim=claim)])
        assert other_provider is None


def test_a_role_that_has_its_rights_by_set_role_makes_the_first_call_of_a_month(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    database = postgres.database().rpartition("/")[2]
    with PostgresLedger(ServerAddress(postgres.url(database)), tmp_path / "owner") as ledger:
        ledger.write([Settled(settled(row("one"), 1))])
    group, app, other = (f"{name}_{database}" for name in ("group", "app", "other"))
    for sql in (
        f"CREATE ROLE {group}",
        f"CREATE ROLE {app} LOGIN NOINHERIT IN ROLE {group}",
        f"ALTER ROLE {app} SET role = '{group}'",
        f"CREATE ROLE {other} LOGIN",
        f"GRANT USAGE ON SCHEMA llmroute TO {group}, {other}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA llmroute TO {group}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA llmroute TO {group}",
    ):
        postgres.execute(sql, database)
    month_ms = 31 * 24 * 3_600_000
    with PostgresLedger(ServerAddress(postgres.url(database, app)), tmp_path / "app") as ledger:
        made = row("two", at_ms=row("x").started_ms + 2 * month_ms)
        assert ledger.write([Settled(settled(made, 1))]) == [None]
    with (
        psycopg.connect(postgres.url(database, other)) as db,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied for table attempts"),
    ):
        db.execute("SELECT llmroute.make_month_2(%s, %s)", (row("x").started_ms + 4 * month_ms, group))

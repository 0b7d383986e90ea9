"""An attempt counts once, whatever its host, the server and pruning do in which order."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmroute.execution.accounting.budget import Admission, RequestBudget
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.operations import Begin, Settle
from llmroute.ledger import spool
from llmroute.ledger.buckets import BUCKET_MS, DAY_MS
from llmroute.ledger.entries import OutdatedCapsError, Pending, Settled
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.postgres.entries import as_json, begin_json
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.shared_caps import set_cap
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger_location import LedgerLocation
from tests.ledger.calls import FOREVER_MS, NOW_MS, cap, fixed, model_lines, row, settled, unique
from tests.ledger.stores import address, postgres, waiting_statements
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger_location import ServerAddress
    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "postgres"]

OLD_MS = NOW_MS - 100 * DAY_MS
LOSS, COST = 100, 30


class Call:
    """One attempt whose host dies at once: its reservation is its cost when the server next looks."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self.ledger = ledger
        self.name = unique()
        self.begun = ""
        self.ended = False

    def row(self) -> AttemptRow:
        return row(self.name, at_ms=OLD_MS, reserved=LOSS, cost_basis="at_most", workspace=self.name, deadline_ms=1)

    def do(self, step: str) -> None:
        """Do a step of its history, unless it cannot come now."""
        if step.startswith("begins") and not self.begun:
            self.begun = step
            if step == "begins in the spool":
                spool.keep(self.row(), self.ledger.path)
            else:
                limit = cap(1_000, workspace=self.name)
                assert self.ledger.write([Pending(self.row(), [limit], fixed(LOSS))]) == [None]
        elif step.startswith("ends") and self.begun and not self.ended:
            self._end(step)
        elif step.startswith("prunes"):
            # Of the month that is dropped as a whole, or its rows only.
            self.ledger.prune(OLD_MS + (40 * DAY_MS if step == "prunes the month" else BUCKET_MS))
        elif step == "adds the spool":
            self.ledger.tend(0)
        elif step == "adds the last line of the spool":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(spool, "ROWS_AT_ONCE", 1)
                self.ledger.tend(0, until_s=0.0)
        elif step == "is killed while it adds the spool":
            with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
                patch.setattr(spool, "taken", killed(spool.taken))
                self.ledger.tend(0)

    def _end(self, step: str) -> None:
        is_here = self.begun == "begins"
        end = settled(self.row(), COST)
        if step != "ends in the spool":
            if not is_here:
                return
            assert self.ledger.write([Settled(end)]) == [None]
        if step != "ends":
            spool.keep(end, self.ledger.path, begun=is_here)
        self.ended = True


def killed(real: object) -> object:
    @contextmanager
    def taken(place: Path) -> Iterator[object]:
        with real(place) as found:  # type: ignore[operator]
            yield found
            raise KeyboardInterrupt

    return taken


STEPS = (
    "begins",
    "begins in the spool",
    "ends",
    "ends in the spool",
    "ends without an answer of the server, so in the spool too",
    "prunes the month",
    "prunes its rows",
    "adds the spool",
    "adds the last line of the spool",
    "is killed while it adds the spool",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=9))
@example(["begins", "adds the spool", "ends in the spool", "prunes the month"])
@example(["begins", "ends in the spool", "prunes its rows", "prunes the month"])
@example(["begins", "ends without an answer of the server, so in the spool too", "prunes the month"])
@example(["begins in the spool", "adds the spool", "ends in the spool", "prunes the month"])
@example(["begins in the spool", "is killed while it adds the spool", "prunes the month"])
@example(["begins in the spool", "ends in the spool", "is killed while it adds the spool", "prunes the month"])
@example(["begins in the spool", "prunes the month", "ends in the spool"])
@example(["begins in the spool", "ends in the spool", "adds the last line of the spool", "prunes the month"])
def test_an_attempt_counts_once(address: ServerAddress, tmp_path: Path, steps: list[str]) -> None:
    with PostgresLedger(address, tmp_path / "host") as ledger:
        call = Call(ledger)
        for step in steps:
            call.do(step)
        ledger.tend(0)
        ledger.fill_sums()
        found = [(line.call_count, line.cost_picousd) for line in model_lines(ledger, None, FOREVER_MS, call.name)]
        assert found == ([(1, COST if call.ended else LOSS)] if call.begun else [])
        assert ServerMaintenance(address, ledger.path).check(datetime.now(UTC)).sound


def late_attempts(postgres: PostgresServer, address: ServerAddress) -> list[tuple[object, ...]]:
    sql = "SELECT request_id, lost IS NOT NULL FROM llmroute.late_attempts ORDER BY 1"
    return postgres.execute(sql, address.url.rpartition("/")[2])


def test_a_server_remembers_only_attempts_that_a_host_may_still_send(
    postgres: PostgresServer, address: ServerAddress, tmp_path: Path
) -> None:
    with PostgresLedger(address, tmp_path / "host") as ledger:
        calls = [Call(ledger) for _ in range(3)]
        for call in calls:
            call.do("begins")
        calls[0].do("ends")
        ledger.recall(bucket=0, now_ms=0)
        calls[0].do("prunes the month")
        assert late_attempts(postgres, address) == sorted((call.name, True) for call in calls[1:])
        calls[1].do("ends in the spool")
        calls[1].do("is killed while it adds the spool")
        calls[2].do("ends")
        assert late_attempts(postgres, address) == [(calls[1].name, False)]
        ledger.tend(0)
        assert late_attempts(postgres, address) == []


def test_an_end_is_remembered_until_its_beginning_is_in_no_spool(
    postgres: PostgresServer, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ROWS_AT_ONCE", 1)
    with PostgresLedger(address, tmp_path / "host") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        call = Call(ledger)
        call.do("begins in the spool")
        call.do("ends in the spool")
        spool.keep(settled(call.row(), COST, "rejected"), ledger.path, begun=True)
        for _ in range(2):
            # The last line only, as a call without a cap, which takes no time for more.
            ledger.tend(0, until_s=0.0)
            call.do("prunes the month")
        assert late_attempts(postgres, address) == [(call.name, False)]
        ledger.tend(0)
        ledger.recall(bucket=0, now_ms=0)
        lines = model_lines(ledger, None, FOREVER_MS)
        assert [(line.call_count, line.cost_picousd) for line in lines] == [(1, COST)]
        assert late_attempts(postgres, address) == []


def test_a_host_that_forgets_attempts_does_not_wait_for_pruning(address: ServerAddress) -> None:
    keys = [{"request_id": name, "attempt": 1, "started_ms": 0} for name in ("kept", "forgotten")]
    with PostgresLedger(address, Path("unused")) as ledger:
        ledger.connection.call("now_ms_1")
    with psycopg.connect(address.url) as pruning, psycopg.connect(address.url) as forgetting:
        pruning.execute("INSERT INTO llmroute.late_attempts VALUES ('kept', 1, 0), ('forgotten', 1, 0)")
        pruning.commit()
        pruning.execute("UPDATE llmroute.late_attempts SET lost = '{}' WHERE request_id = 'kept'")
        forgetting.execute("SET lock_timeout = '5s'")
        forgetting.execute("SELECT llmroute.forget_late_1(%s)", (as_json(keys),))
        forgetting.commit()
        pruning.commit()
        assert pruning.execute("SELECT request_id FROM llmroute.late_attempts").fetchall() == [("kept",)]


def test_an_end_and_a_verdict_that_come_again_after_their_attempt_was_pruned_change_nothing(
    address: ServerAddress, tmp_path: Path
) -> None:
    with PostgresLedger(address, tmp_path / "host") as ledger:
        writer = LedgerWriter(LedgerLocation(ledger.path, address), pytest.fail, ledger)
        writer.statistics.recall(bucket=0, now_ms=0)
        made = row("one", at_ms=OLD_MS)
        writer.begin(Begin(made, Admission(fixed(LOSS), RequestBudget()), Clock()))
        writer.settle(Settle(settled(made, COST), None))
        ledger.prune(NOW_MS)
        writer.settle(Settle(made, None))
        writer.settle(Settle(settled(made, COST, "rejected"), None))
        [line] = model_lines(ledger, None, FOREVER_MS)
        assert (line.call_count, line.cost_picousd) == (1, COST)


def test_an_end_is_spooled_with_whether_the_ledger_had_its_beginning(address: ServerAddress, tmp_path: Path) -> None:
    path = tmp_path / "host"
    warnings: list[str] = []
    writer = LedgerWriter(LedgerLocation(path, address), warnings.append, wait_s=0.1)
    writer.statistics.recall(bucket=0, now_ms=0)
    admission = Admission(fixed(100), RequestBudget())
    here, elsewhere = row("here"), row("elsewhere")
    writer.begin(Begin(here, admission, Clock()))
    with psycopg.connect(address.url) as holding:
        holding.execute("LOCK TABLE llmroute.windows IN ACCESS EXCLUSIVE MODE")
        writer.settle(Settle(settled(here, 1), None))
        writer.begin(Begin(elsewhere, admission, Clock()))
        writer.settle(Settle(settled(elsewhere, 1), None))
    with spool.taken(spool.places(path)[0]) as (lines, _):
        found = [(one.row.request_id, one.row.status, one.begun) for one in lines]
    assert found == [("here", "ok", True), ("elsewhere", "pending", False), ("elsewhere", "ok", False)]
    writer.access.close()


def test_an_attempt_that_waited_while_a_cap_was_set_is_made_anew(address: ServerAddress, tmp_path: Path) -> None:
    outcomes: list[object] = []
    with PostgresLedger(address, tmp_path / "host") as ledger, psycopg.connect(address.url) as setting:
        ledger.recall(bucket=0, now_ms=0)
        setting.execute("LOCK TABLE llmroute.windows IN ACCESS EXCLUSIVE MODE")
        writing = threading.Thread(target=lambda: outcomes.extend(ledger.write([Pending(row("one"))])))
        writing.start()
        wait_until(lambda: waiting_statements(address))
        setting.execute("SELECT llmroute.set_cap_1('', 'total', 5, 'UTC')")
        setting.commit()
        writing.join()
    assert [type(outcome) for outcome in outcomes] == [OutdatedCapsError]


def test_a_write_whose_month_is_dropped_meanwhile_makes_it_again(address: ServerAddress, tmp_path: Path) -> None:
    outcomes: list[object] = []
    with PostgresLedger(address, tmp_path / "host") as ledger, psycopg.connect(address.url) as dropping:
        assert ledger.write([Settled(settled(row("one", at_ms=OLD_MS), 1))]) == [None]
        [(month,)] = dropping.execute("SELECT tableoid::regclass::text FROM llmroute.attempts").fetchall()
        dropping.execute("LOCK TABLE llmroute.windows IN ACCESS EXCLUSIVE MODE")
        late = Settled(settled(row("two", at_ms=OLD_MS), 7))
        writing = threading.Thread(target=lambda: outcomes.extend(ledger.write([late])))
        writing.start()
        wait_until(lambda: waiting_statements(address))
        dropping.execute(f"DROP TABLE {month}".encode())
        dropping.commit()
        writing.join()
        assert outcomes == [None]
        with ledger.snapshot() as snapshot:
            assert [one["request_id"] for one in snapshot.attempts(AttemptFilter())] == ["two"]


def test_a_cap_is_set_after_the_attempts_that_do_not_know_it(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "host") as ledger, psycopg.connect(address.url) as writing:
        ledger.recall(bucket=0, now_ms=0)
        entries = as_json([begin_json(Pending(row("one")), (), ())])
        writing.execute("SELECT llmroute.write_1(%s, '[]', 1000, 0)", (entries,))
        setting = threading.Thread(target=set_cap, args=(ledger.connection, "", "total", 5, "UTC"))
        setting.start()
        wait_until(lambda: waiting_statements(address))
        writing.commit()
        setting.join()
        ledger.recall(bucket=0, now_ms=0)
        assert [one.cap_picousd for one in ledger.shared_caps or ()] == [5]

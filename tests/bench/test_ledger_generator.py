"""Generated ledgers equal those that the same calls would have written."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from tests.bench import ledger_generator
from tests.ledger.calls import NOW_MS

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("attempts", "rollups", "days", "quarters", "coarse", "sqlite_schema")


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    db = sqlite3.connect(path)
    try:
        # Of the schema, only names and SQL: root pages may differ.
        columns = dict.fromkeys(TABLES, "*") | {"sqlite_schema": "name, sql"}
        return {
            table: sorted(db.execute(f"SELECT {columns[table]} FROM {table}").fetchall(), key=str) for table in TABLES
        }
    finally:
        db.close()


def test_a_generated_ledger_equals_one_written_by_begin_and_settle(tmp_path: Path) -> None:
    generated, real = tmp_path / "generated.db", tmp_path / "real.db"
    ledger_generator.write(generated, 3_000, NOW_MS)
    with Ledger(real) as ledger:
        for row in ledger_generator.rows(0, 3_000, NOW_MS):
            status, row.status = row.status, "pending"
            assert ledger.write([Pending(row)]) == [None]
            row.status = status
            assert ledger.write([Settled(row)]) == [None]
    assert contents(generated) == contents(real)
    found = check(generated, NOW_MS)
    assert (found.attempts, found.faults, found.notes) == (3_000, (), ())


def test_a_generated_ledger_has_all_kinds_of_attempts() -> None:
    rows = list(ledger_generator.rows(0, 3_000, NOW_MS))
    assert len({(row.provider, row.model) for row in rows}) == 12
    assert {row.status for row in rows} == {"ok", "failed", "partial", "interrupted"}
    assert any(row.cost_picousd is None for row in rows)
    assert None in {row.workspace for row in rows}
    assert len({row.request_id for row in rows}) == 2_850
    assert rows[-1].started_ms - rows[0].started_ms > 0.99 * ledger_generator.SPAN_MS

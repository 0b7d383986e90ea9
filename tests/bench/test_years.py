"""A generated ledger is what as many real calls would have left."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.sqlite.writes import Pending, Settled
from tests.bench import years
from tests.ledger.calls import NOW_MS

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("attempts", "rollups", "days", "quarters", "coarse", "sqlite_schema")


def told(path: Path) -> dict[str, list[tuple[object, ...]]]:
    db = sqlite3.connect(path)
    try:
        # The schema by name: where its tables lie in the file is not what it says.
        columns = dict.fromkeys(TABLES, "*") | {"sqlite_schema": "name, sql"}
        return {
            table: sorted(db.execute(f"SELECT {columns[table]} FROM {table}").fetchall(), key=str) for table in TABLES
        }
    finally:
        db.close()


def test_a_generated_ledger_is_what_begin_and_settle_leave(tmp_path: Path) -> None:
    generated, real = tmp_path / "generated.db", tmp_path / "real.db"
    years.write(generated, 3_000, NOW_MS)
    with Ledger(real) as ledger:
        for row in years.rows(0, 3_000, NOW_MS):
            status, row.status = row.status, "pending"
            assert ledger.write([Pending(row)]) == [None]
            row.status = status
            assert ledger.write([Settled(row)]) == [None]
    assert told(generated) == told(real)
    found = check(generated, NOW_MS)
    assert (found.attempts, found.faults, found.notes) == (3_000, (), ())


def test_a_generated_ledger_has_what_years_bring() -> None:
    rows = list(years.rows(0, 3_000, NOW_MS))
    assert len({(row.provider, row.model) for row in rows}) == 12
    assert {row.status for row in rows} == {"ok", "failed", "partial", "interrupted"}
    assert any(row.cost_picousd is None for row in rows)
    assert None in {row.workspace for row in rows}
    assert len({row.request_id for row in rows}) == 2_850
    assert rows[-1].started_ms - rows[0].started_ms > 0.99 * years.SPAN_MS

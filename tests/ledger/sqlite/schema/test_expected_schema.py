"""Tables, indexes and triggers are those of a new ledger: what differs is found and mended, and no cap is passed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.maintenance.repair import repair_parts, repair_sums
from llmroute.ledger.sqlite.schema.expected_schema import differences, lost_triggers
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS
from llmroute.ledger.sqlite.schema.rollups import WORDS
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, model_lines, row, settled

if TYPE_CHECKING:
    from pathlib import Path

# A migration that was released is never edited: ledgers that have it would differ from new ones for ever.
RELEASED = (
    "0ba228e26b848753",
    "a219988e80b00ac5",
    "9560900a41ea73d3",
    "9994434c7d2514ca",
    "1fbd5407be3c7266",
    "3fe0e781ddcb82cb",
    "b530098aaf1f6601",
    "f2ab20b61d576dee",
)
TRIGGERS = (
    "attempts_settled_at_once",
    "attempts_settled",
    "attempts_corrected",
    "budgets_entered",
    "budgets_changed",
    "rollups_entered",
    "rollups_changed",
    "rollups_removed",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with ten calls of 5 pico-USD each, and a cap."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for call in range(10):
            made = row(f"{call}", at_ms=NOW_MS + call * 900_000)
            ledger.begin(made, [cap(1000)], fixed(5))
            ledger.settle(settled(made, 5))
    return path


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def mend(path: Path) -> tuple[str, ...]:
    with Ledger(path) as ledger:
        repair_parts(ledger.connection, path.with_name("kept.db"))
        return repair_sums(ledger.connection, NOW_MS)


def test_no_released_migration_was_edited() -> None:
    found = tuple(sha256(migration.format(**WORDS).encode()).hexdigest()[:16] for migration in MIGRATIONS)
    assert found[: len(RELEASED)] == RELEASED


def test_a_new_ledger_and_one_that_was_brought_up_to_date_have_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in range(1, len(MIGRATIONS) + 1):
        path = tmp_path / f"{version}.db"
        with monkeypatch.context() as patch:
            patch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", MIGRATIONS[:version])
            Ledger(path).close()
        with Ledger(path) as ledger:
            assert differences(ledger.db) == ()
            assert lost_triggers(ledger.db) == ()


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        *((f"DROP TRIGGER {name}", f"the trigger {name} is missing") for name in TRIGGERS),
        (
            "CREATE TRIGGER mine AFTER INSERT ON attempts BEGIN DELETE FROM budgets; END",
            "the trigger mine is not one of",
        ),
        ("DROP INDEX attempts_pending", "the index attempts_pending is missing"),
        ("CREATE INDEX mine ON attempts (model)", "the index mine is not one of"),
        ("CREATE VIEW mine AS SELECT * FROM attempts", "the view mine is not one of"),
        ("CREATE TABLE mine (a)", "the table mine is not one of"),
        ("DROP TABLE coarse", "the table coarse is missing"),
        ("DROP TABLE days", "the table days is missing"),
        ("DROP TABLE quarters", "the table quarters is missing"),
        ("DROP TABLE budgets", "the table budgets is missing"),
        ("DROP TABLE pruned", "the table pruned is missing"),
        ("DROP TABLE latencies", "the table latencies is missing"),
        ("DELETE FROM coarse", "the start of complete sums is not recorded"),
    ],
)
def test_parts_that_are_missing_or_added_are_found_and_mended(harm: str, named: str, path: Path) -> None:
    run(path, harm)
    found = check(path, NOW_MS)
    assert any(named in fault for fault in found.faults), found.faults
    assert found.readable
    mend(path)
    assert check(path, NOW_MS).faults == ()
    with Ledger(path) as ledger:
        assert [(line.call_count, line.cost_picousd) for line in model_lines(ledger, None, 2 * NOW_MS)] == [(10, 50)]


def test_a_trigger_that_was_changed_is_found_and_the_sums_are_those_of_the_rows_again(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'attempts_settled'").fetchone()
    run(path, "DROP TRIGGER attempts_settled", sql.replace("+ excluded.cost_picousd", "+ 0"))
    with Ledger(path) as ledger:
        for call in "ab":
            made = row(call)
            ledger.begin(made)
            ledger.settle(settled(made, 7))
    assert "the trigger attempts_settled is not what it must be" in check(path, NOW_MS).faults
    told = mend(path)
    assert check(path, NOW_MS).faults == ()
    assert any("the bill was 12 attempts" in text and "by the rows" in text for text in told)
    with Ledger(path) as ledger:
        assert [(line.call_count, line.cost_picousd) for line in model_lines(ledger, None, 2 * NOW_MS)] == [(12, 64)]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_under_a_cap_nothing_begins_that_would_not_be_counted(trigger: str, path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.begin(row("before"), [cap(1000)], fixed(5))
        run(path, f"DROP TRIGGER {trigger}")
        with pytest.raises(LedgerError, match=f"does not count what is spent: the trigger {trigger}"):
            ledger.begin(row("after"), [cap(1000)], fixed(5))
        ledger.begin(row("without a cap"))
    mend(path)
    with Ledger(path) as ledger:
        ledger.begin(row("again"), [cap(1000)], fixed(5))


def test_without_the_row_of_coarse_a_cap_still_counts_all_that_was_spent(path: Path) -> None:
    run(path, "DELETE FROM coarse", "DELETE FROM budgets")
    with Ledger(path) as ledger:
        ledger.begin(row("a"), [cap(1000)], fixed(5))
        assert ledger.db.execute("SELECT spent_picousd FROM budgets").fetchone() == (50,)


def test_a_table_of_somebody_else_is_kept_in_a_copy(path: Path) -> None:
    run(path, "CREATE TABLE mine (a)", "INSERT INTO mine VALUES ('precious')")
    mend(path)
    with closing(sqlite3.connect(path.with_name("kept.db"))) as copy:
        assert copy.execute("SELECT a FROM mine").fetchall() == [("precious",)]


def test_comments_and_white_space_make_no_difference(path: Path) -> None:
    run(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'One row', 'a  row') WHERE name = 'attempts'",
    )
    assert check(path, NOW_MS).faults == ()


def test_pruned_sums_outlive_the_loss_of_what_tells_of_them(path: Path) -> None:
    from llmroute.ledger.sqlite.maintenance.prune import prune

    with Ledger(path) as ledger:
        prune(ledger.connection, NOW_MS + 5 * 900_000)
    run(path, "DROP TABLE pruned")
    mend(path)
    with Ledger(path) as ledger:
        assert [(line.call_count, line.cost_picousd) for line in model_lines(ledger, None, 2 * NOW_MS)] == [(10, 50)]
    assert check(path, NOW_MS).faults == ()

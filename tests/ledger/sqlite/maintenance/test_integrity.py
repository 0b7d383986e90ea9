"""Checks find what is wrong, repairs mend it, copies are whole, and old rows go without the bill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.errors import LedgerError, RequestError
from llmroute.ledger import spool
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.sqlite.maintenance.create import beside
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.maintenance.prune import backup, prune
from llmroute.ledger.sqlite.maintenance.repair import repair_sums
from llmroute.ledger.sqlite.recovery.rebuild import salvage
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from pathlib import Path

QUARTER = 900_000
CALLS = 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with settled calls over a hundred hours, one under way, and a cap."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for call in range(CALLS):
            made = row(f"{call:05}", at_ms=NOW_MS + call * QUARTER, workspace=f"w{call % 3}", price="p" * 200)
            ledger.begin(made, [cap(10**9)], fixed(100))
            ledger.settle(settled(made, call % 50))
        ledger.begin(row("under way"), [cap(10**9)], fixed(100))
    return path


def bill(path: Path) -> tuple[int, int]:
    with Ledger(path) as ledger:
        found: tuple[int, int] = ledger.db.execute("SELECT sum(call_count), sum(cost_picousd) FROM rollups").fetchone()
    return found


def test_a_sound_ledger_is_found_sound(path: Path) -> None:
    found = check(path, NOW_MS)
    assert (found.attempts, found.faults, found.notes) == (CALLS + 1, (), ())


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("UPDATE rollups SET cost_picousd = cost_picousd + 1 WHERE workspace = 'w1'", "sums of 133 quarter-hours"),
        ("UPDATE days SET day = day + 1000", "sums of 10 days"),
        ("DELETE FROM rollups", "sums of 400 quarter-hours"),
        ("UPDATE budgets SET spent_picousd = 0", "budget per total"),
        ("UPDATE budgets SET reserved_picousd = 0", "budget per total"),
    ],
)
def test_sums_that_are_not_those_of_the_rows_are_found_and_built_anew(harm: str, named: str, path: Path) -> None:
    whole = bill(path)
    with Ledger(path) as ledger:
        ledger.db.execute(harm)
    found = check(path, NOW_MS)
    assert named in found.faults[0]
    with Ledger(path) as ledger:
        repair_sums(ledger.connection, NOW_MS)
    assert check(path, NOW_MS).faults == ()
    assert bill(path) == whole


def test_rows_of_a_clock_that_was_wrong_are_checked_and_cost_no_step_for_each_day_between(path: Path) -> None:
    with Ledger(path) as ledger:
        for request, at_ms in (("long ago", 5), ("far ahead", 4 * NOW_MS), ("beyond", 2**62)):
            ledger.settle(settled(row(request, at_ms=at_ms), 7))
        whole = bill(path)
        for wrong in (0, "(SELECT max(quarter) FROM rollups)"):
            ledger.db.execute(f"UPDATE rollups SET cost_picousd = 0 WHERE quarter = {wrong}")
        assert "sums of 2 quarter-hours" in check(path, NOW_MS).faults[0]
        begun: list[str] = []
        ledger.db.set_trace_callback(lambda statement: begun.append(statement) if statement[:5] == "BEGIN" else None)
        repair_sums(ledger.connection, NOW_MS)
    assert len(begun) < 50
    assert check(path, NOW_MS).faults == ()
    assert bill(path) == whole


def test_what_waits_is_told_and_is_no_fault(path: Path) -> None:
    spool.keep(settled(row("spooled"), 1), path)
    with Ledger(path) as ledger:
        ledger.db.execute("UPDATE attempts SET process = process || '1' WHERE status = 'pending'")
    found = check(path, NOW_MS)
    assert found.sound
    assert len(found.notes) == 2
    with Ledger(path) as ledger:
        repair_sums(ledger.connection, NOW_MS)
    assert check(path, NOW_MS).notes == ()


def damage(path: Path, pages: slice) -> None:
    """Overwrite pages of the ledger, 4 KiB each."""
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 4096)[pages]:
        data[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pages", "least"), [(slice(0, 1), 0), (slice(30, 32), CALLS // 3), (slice(-1, None), CALLS // 3)]
)
def test_a_damaged_ledger_is_moved_aside_and_what_can_be_read_of_it_is_kept(
    pages: slice, least: int, path: Path
) -> None:
    whole = path.read_bytes()
    damage(path, pages)
    found = check(path, NOW_MS)
    assert not found.sound
    assert not found.readable
    saved = salvage(path, "now", NOW_MS, LockTimeout(10))
    assert saved.aside.name == "ledger.db.corrupt-now"
    assert len(saved.aside.read_bytes()) == len(whole)
    assert saved.rows >= least
    after = check(path, NOW_MS)
    assert (after.faults, after.attempts) == ((), saved.rows + saved.lost.rows)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(path.parent.glob("*.new-*"))


def test_rows_on_both_sides_of_the_damage_are_kept(path: Path) -> None:
    data = bytearray(path.read_bytes())
    page = data.index(b"00200") // 4096
    data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert not check(path, NOW_MS).sound
    saved = salvage(path, "now", NOW_MS, LockTimeout(10))
    assert saved.rows > CALLS * 0.9
    with Ledger(path) as ledger:
        kept = {one for (one,) in ledger.db.execute("SELECT request_id FROM attempts")}
    assert {"00000", "00399", "under way"} <= kept


def test_who_has_the_ledger_open_notices_that_it_was_replaced(path: Path) -> None:
    with Ledger(path) as ledger:
        made = row("a")
        ledger.begin(made)
        salvage(path, "now", NOW_MS, LockTimeout(10))
        with pytest.raises(LedgerError, match="replaced while it was in use"):
            ledger.settle(settled(made, 1))


def test_a_ledger_that_was_deleted_leaves_nothing_to_the_next_one(path: Path) -> None:
    with Ledger(path) as old:
        old.begin(row("into the log"))
        path.unlink()
        assert all(file.exists() for file in beside(path))
        with Ledger(path) as new:
            assert new.db.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
            new.begin(row("a"))
            with pytest.raises(LedgerError):
                old.settle(settled(row("into the log"), 1))
        assert check(path, NOW_MS).faults == ()
    assert check(path, NOW_MS).attempts == 1


def test_a_copy_is_one_whole_private_file_even_while_others_write(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    with Ledger(path) as writer, Ledger(path) as ledger:
        writer.db.execute("BEGIN IMMEDIATE")
        writer.db.execute("UPDATE attempts SET error = 'half way'")
        backup(ledger.connection, target)
        writer.db.execute("ROLLBACK")
    assert [file.name for file in tmp_path.glob("copy*")] == ["copy.db"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert check(target, NOW_MS).attempts == CALLS + 1
    assert check(target, NOW_MS).faults == ()
    with Ledger(path) as ledger, pytest.raises(RequestError, match="already"):
        backup(ledger.connection, target)


def test_old_rows_go_the_bill_stays_and_what_is_under_way_is_kept(path: Path) -> None:
    whole = bill(path)
    cut = NOW_MS + 100 * QUARTER
    with Ledger(path) as ledger:
        assert prune(ledger.connection, cut) == 100
        assert prune(ledger.connection, cut) == 0
        kept = {one for (one,) in ledger.db.execute("SELECT request_id FROM attempts")}
        assert "under way" in kept
        assert len(kept) == CALLS - 100 + 1
        late = row("under way")
        ledger.settle(settled(late, 40))
    assert bill(path) == (whole[0] + 1, whole[1] + 40)
    found = check(path, NOW_MS)
    assert found.faults == ()


def test_sums_of_pruned_rows_outlive_a_repair_and_a_salvage(path: Path) -> None:
    whole = bill(path)
    with Ledger(path) as ledger:
        prune(ledger.connection, NOW_MS + 100 * QUARTER)
        repair_sums(ledger.connection, NOW_MS)
    assert bill(path) == whole
    salvage(path, "now", NOW_MS, LockTimeout(10))
    assert bill(path) == whole
    assert check(path, NOW_MS).faults == ()


def test_there_being_no_ledger_is_no_fault(tmp_path: Path) -> None:
    assert check(tmp_path / "ledger.db", NOW_MS).sound
    assert list(tmp_path.iterdir()) == []

"""What of a damaged ledger can be read is kept, whatever its schema says; what only sums tell of is not forgotten."""

from __future__ import annotations

import random
import re
import sqlite3
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.maintenance.copies import identity
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.maintenance.prune import backup, prune
from llmroute.ledger.sqlite.maintenance.repair import repair_parts, repair_sums
from llmroute.ledger.sqlite.maintenance.restore import restore
from llmroute.ledger.sqlite.recovery.missing_rows import LOST
from llmroute.ledger.sqlite.recovery.rebuild import salvage
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.ledger.maintenance import Salvage

QUARTER_MS = 900_000
DAY_MS = 96 * QUARTER_MS
CALLS = 200
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with settled calls, one in ten of a length that takes several pages, under a cap."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for call in range(CALLS):
            price = "p" * (200 if call % 10 else 9_000)
            made = row(f"{call:05}", at_ms=NOW_MS + call * QUARTER_MS, workspace=f"w{call % 3}", price=price)
            ledger.begin(made, [cap(10**9)], fixed(100))
            ledger.settle(settled(made, call))
    return path


def mended(path: Path) -> Salvage | None:
    """Repair as `costs check --repair` does."""
    found = check(path, NOW_MS)
    saved = None
    if found.readable:
        with Ledger(path) as ledger:
            repair_parts(ledger.connection, path.with_name("kept.db"))
        found = check(path, NOW_MS)
    if not found.readable:
        saved = salvage(path, "now", NOW_MS, LockTimeout(10))
    with Ledger(path) as ledger:
        repair_sums(ledger.connection, NOW_MS)
    assert check(path, NOW_MS).faults == ()
    return saved


def rows(path: Path, table: str = "attempts") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def spent(path: Path, cap_picousd: int = 10**9) -> int:
    with Ledger(path) as ledger:
        return summed_status(ledger.db, cap(cap_picousd)).spent_picousd


def edit_schema(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Change the text of the schema in the file itself, as a disk would."""
    whole = path.read_bytes()
    changed = edit(whole)
    assert changed != whole
    assert len(changed) == len(whole)
    path.write_bytes(changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8"),
        (b"CREATE TABLE attempts", b"CREATE TABLE attemptr"),
        (b"cost_picousd INTEGER,\n", b"cost_picousf INTEGER,\n"),
        (b"UTC milliseconds.\n", b"UTC milliseconds.\x0b"),
        (b"AFTER INSERT ON attempts BEGIN", b"AFTER INSERT ON attempts BEGI\xce"),
        (b"CREATE INDEX attempts_by_time", b"CREATE INDEX attempts_by_tim\xe5"),
        (b"CREATE TABLE rollups", b"CREATE TABLE rollupr"),
        (b"SQLite format 3", b"SQLite format 7"),
    ],
)
def test_one_wrong_byte_in_the_schema_costs_no_row(old: bytes, new: bytes, path: Path) -> None:
    before, whole = rows(path), spent(path)
    edit_schema(path, lambda data: data.replace(old, new, 1))
    assert not check(path, NOW_MS).sound
    mended(path)
    assert rows(path) == before
    assert spent(path) == whole


def test_any_flipped_bit_of_the_schema_costs_no_row(path: Path) -> None:
    before, whole, data = rows(path), spent(path), path.read_bytes()
    pages = [at for at in range(0, len(data), PAGE) if at == 0 or b"CREATE T" in data[at : at + PAGE]]
    chance = random.Random(7)
    for _ in range(25):
        flipped = bytearray(data)
        flipped[chance.choice(pages) + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        mended(path)
        assert rows(path) == before
        assert spent(path) == whole
        for kept in path.parent.glob("ledger.db.corrupt-*"):
            kept.unlink()


@pytest.mark.parametrize("column", ["model", "workspace", "strategy"])
def test_a_wrong_byte_in_a_label_of_a_row_or_of_a_sum_counts_nothing_twice(column: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    labels: dict[str, Any] = dict.fromkeys(("provider", "model", "workspace", "strategy"), "other")
    labels[column] = "labelled"
    with Ledger(path) as ledger:
        for call in range(2):
            made = row(f"{call}", at_ms=NOW_MS + call * QUARTER_MS, **labels)
            ledger.begin(made, [cap(10**9)], fixed(100))
            ledger.settle(settled(made, 5))
    before, data = rows(path), path.read_bytes()
    places = [found.start() for found in re.finditer(b"labelled", data)]
    assert len(places) > 3
    for number, at in enumerate(places):
        flipped = bytearray(data)
        flipped[at + number % 8] |= 0x80
        path.write_bytes(flipped)
        saved = mended(path)
        assert saved is None or saved.lost == (0, 0)
        assert rows(path) == before
        assert spent(path) == 10
        for kept in path.parent.glob("ledger.db.corrupt-*"):
            kept.unlink()


@pytest.mark.parametrize("letter", ["\u00fc", "\u20ac", "\U0001f600"])
def test_a_byte_of_a_character_that_became_ascii_counts_nothing_twice(letter: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    label = f"lab{letter}lled"
    with Ledger(path) as ledger:
        for call in range(2):
            made = row(f"{call}", at_ms=NOW_MS + call * QUARTER_MS, workspace=label)
            ledger.begin(made, [cap(10**9)], fixed(100))
            ledger.settle(settled(made, 5))
    before, data = rows(path), path.read_bytes()
    places = [found.start() + 3 for found in re.finditer(label.encode(), data)]
    assert len(places) > 3
    for at in places:
        for byte in range(len(letter.encode())):
            flipped = bytearray(data)
            flipped[at + byte] &= 0x7F
            path.write_bytes(flipped)
            saved = salvage(path, "now", NOW_MS, LockTimeout(10))
            assert saved.lost == (0, 0)
            assert rows(path) == before
            assert spent(path) == 10


def test_ledgers_that_are_kept_at_the_same_second_have_names_of_their_own(path: Path) -> None:
    copy = path.with_name("copy.db")
    with Ledger(path) as ledger:
        backup(ledger.connection, copy)
    kept = []
    for _ in range(2):
        edit_schema(path, lambda data: data.replace(b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8", 1))
        damaged = path.read_bytes()
        aside = salvage(path, "now", NOW_MS, LockTimeout(10)).aside
        assert aside.read_bytes() == damaged
        replaced = restore(path, copy, "now", NOW_MS, LockTimeout(10)).aside
        assert replaced is not None
        assert check(replaced, NOW_MS).attempts == CALLS
        kept += [aside, replaced]
    assert len(set(kept)) == 4
    assert all(one.exists() for one in kept)


def test_what_is_in_the_log_only_is_read_too(path: Path) -> None:
    with Ledger(path) as ledger:
        made = row("in the log")
        ledger.begin(made, [cap(10**9)], fixed(100))
        ledger.settle(settled(made, 1))
        before = rows(path)
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes().replace(b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8", 1))
        copy.with_name("copy.db-wal").write_bytes(path.with_name("ledger.db-wal").read_bytes())
        assert copy.with_name("copy.db-wal").stat().st_size > 0
    mended(copy)
    assert rows(copy) == before


@pytest.mark.parametrize("seed", range(6))
def test_a_page_that_is_lost_takes_rows_with_it_and_no_dollar(seed: int, path: Path) -> None:
    whole = spent(path)
    data = bytearray(path.read_bytes())
    page = random.Random(seed).randrange(len(data) // PAGE)
    data[page * PAGE : (page + 1) * PAGE] = random.Random(seed).randbytes(PAGE)
    path.write_bytes(data)
    saved = mended(path)
    assert saved is not None
    assert spent(path) == whole
    with Ledger(path) as ledger:
        told = ledger.db.execute("SELECT sum(call_count), sum(cost_picousd) FROM rollups").fetchone()
        assert told == (CALLS, whole)
        lost = ledger.db.execute("SELECT count(*), total(cost_picousd) FROM attempts WHERE error = ?", (LOST,))
        assert lost.fetchone() == (saved.lost.rows, saved.lost.cost_picousd)


def wipe(path: Path, begins: Callable[[bytes], bool]) -> None:
    """Overwrite every page of which something is true."""
    data = bytearray(path.read_bytes())
    for at in range(PAGE, len(data), PAGE):
        if begins(bytes(data[at : at + PAGE])):
            data[at : at + PAGE] = b"\xa5" * PAGE
    path.write_bytes(data)


def test_when_all_rows_are_lost_the_bill_and_the_caps_still_count_them(path: Path) -> None:
    whole = spent(path)
    wipe(path, lambda page: page[0] in (5, 13))
    saved = mended(path)
    assert saved is not None
    assert saved.rows == 0
    assert (saved.lost.rows, saved.lost.cost_picousd) == (CALLS, whole)
    assert spent(path) == whole


def test_when_the_sums_are_lost_too_a_cap_counts_what_it_has_counted(path: Path) -> None:
    whole = spent(path)
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'budgets'").fetchone()
    budgets = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    wipe(path, lambda page: page != budgets and page[0] in (2, 5, 10, 13))
    saved = mended(path)
    assert saved is not None
    assert spent(path) == whole
    assert saved.lost.cost_picousd == whole


def test_sums_of_pruned_rows_and_their_rows_do_not_come_twice(path: Path) -> None:
    whole = spent(path)
    with Ledger(path) as ledger:
        prune(ledger.connection, NOW_MS + 100 * QUARTER_MS)
    edit_schema(path, lambda data: data.replace(b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8", 1))
    saved = mended(path)
    assert saved is not None
    assert (saved.rows, saved.lost.rows) == (CALLS - 100, 0)
    assert spent(path) == whole


def test_sums_by_task_and_what_caches_saved_are_those_of_the_rows_and_of_pruned_ones(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for call in range(40):
            at_ms, price = NOW_MS - call * 20 * QUARTER_MS, '{"input": 10, "output": 20, "cache_read": 1}'
            made = row(
                f"{call:05}", at_ms=at_ms, workspace=f"w{call % 3}", price=price, task="chat", strategy="balanced"
            )
            made = settled(made, call)
            made.input_tokens, made.cached_input_tokens = 100, 60
            ledger.settle(made)
        ledger.prune(NOW_MS - 5 * DAY_MS)
    sums = ("rollups", "days", "quarters", "task_days", "strategy_days")
    before = {table: rows(path, table) for table in ("attempts", *sums)}
    assert {sum(int(str(found[-1])) for found in before[table]) for table in sums} == {40 * 540}
    edit_schema(path, lambda data: data.replace(b"SQLite format 3", b"SQLite format 7", 1))
    mended(path)
    assert {table: rows(path, table) for table in before} == before


def test_rows_of_every_version_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as patch:
        patch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", MIGRATIONS[:1])
        Ledger(path).close()
    insert = "INSERT INTO attempts (request_id, attempt, status, started_ms, provider, model, streaming, usage_source, "
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"{insert} cost_picousd) VALUES ('old', 1, 'ok', ?, 'openai', 'm', 0, 'none', 5)", (NOW_MS,))
    with Ledger(path) as ledger:
        ledger.settle(settled(row("new", prompt_cut="7 of 9 tokens"), 7))
    before = rows(path)
    assert [told[-1] for told in before] == [None, "7 of 9 tokens"]
    edit_schema(path, lambda data: data.replace(b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8", 1))
    mended(path)
    assert rows(path) == before


def test_a_ledger_of_an_edited_migration_is_told_apart_and_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    edited = [
        text.replace("ALTER TABLE latencies ADD COLUMN slower REAL NOT NULL DEFAULT 1.6;\n", "").replace(
            "    served_model TEXT,\n", "    served_model TEXT,\n    mood TEXT,\n"
        )
        for text in MIGRATIONS
    ]
    with monkeypatch.context() as patch:
        patch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", tuple(edited))
        with Ledger(path) as ledger:
            for call in range(20):
                ledger.settle(settled(row(f"{call}", served_model="s", strategy="balanced"), 5))
            told = ledger.db.execute("SELECT request_id, served_model, strategy, cost_picousd FROM attempts").fetchall()
            ledger.db.execute(
                "INSERT INTO latencies (provider, model, effort, bucket, metric, weight, log_sum, at_ms)"
                " VALUES ('openai', 'm', '', 0, 'ttft', 4.0, 2.0, 7)"
            )
    found = check(path, NOW_MS)
    assert "the table latencies is not what it must be" in found.faults
    assert "the table attempts is not what it must be" in found.faults
    mended(path)
    with Ledger(path) as ledger:
        again = ledger.db.execute("SELECT request_id, served_model, strategy, cost_picousd FROM attempts").fetchall()
        assert sorted(again) == sorted(told)
        assert ledger.recall(bucket=0, now_ms=7).latencies
    assert spent(path) == 100


def test_a_version_that_the_tables_belie_is_damage(path: Path) -> None:
    before = rows(path)
    for version in (len(MIGRATIONS) ^ 1, len(MIGRATIONS) | 64, 0):
        data = bytearray(path.read_bytes())
        struct.pack_into(">I", data, 60, version)
        path.write_bytes(data)
        with suppress(LedgerError):
            assert not check(path, NOW_MS).sound
            mended(path)
            assert rows(path) == before
            for kept in path.parent.glob("ledger.db.corrupt-*"):
                kept.unlink()


def test_an_empty_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    found = check(path, NOW_MS)
    assert not found.sound
    assert "is empty" in found.faults[0]
    assert path.stat().st_size == 0, "a check changes nothing"
    mended(path)
    assert path.stat().st_size > 0


def test_a_rebuilt_ledger_is_known_as_the_same(path: Path) -> None:
    with Ledger(path) as ledger:
        before = identity(ledger.db)
    salvage(path, "now", NOW_MS, LockTimeout(10))
    with Ledger(path) as ledger:
        assert identity(ledger.db) == before

"""Rows that the ledger could not take are taken in later, exactly once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.spool.rows import SpooledRow
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def sums(path: Path) -> tuple[int, int]:
    with Ledger(path) as ledger:
        ledger.tend(NOW_MS)
        found: tuple[int, int] = ledger.db.execute("SELECT count(*), sum(cost_picousd) FROM attempts").fetchone()
    assert check(path, NOW_MS).faults == ()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_row_comes_out_as_it_went_in_and_only_the_user_may_read_it(path: Path) -> None:
    made = settled(row("a", workspace="é\n", price='{"input": 1}'), 7)
    place = spool.keep(made, path)
    assert place.stat().st_mode & 0o777 == 0o600
    with spool.taken(place) as (rows, strange):
        assert (rows, strange) == ([SpooledRow(made)], [])
    assert not place.exists()


def test_beginning_and_end_of_a_call_become_one_row(path: Path) -> None:
    spool.keep(row("a"), path)
    spool.keep(settled(row("a"), 7), path)
    assert sums(path) == (1, 7)
    assert spool.waiting(path) == []


def test_an_end_in_the_spool_settles_a_beginning_in_the_ledger_and_frees_its_reservation(path: Path) -> None:
    made = row("a")
    with Ledger(path) as ledger:
        ledger.begin(made, [cap(100)], fixed(100))
    spool.keep(settled(made, 7), path)
    assert sums(path) == (1, 7)
    with Ledger(path) as ledger:
        assert ledger.db.execute("SELECT spent_picousd, reserved_picousd FROM budgets").fetchall() == [(7, 0)]


def test_a_beginning_in_the_spool_undoes_no_end_in_the_ledger(path: Path) -> None:
    made = row("a")
    spool.keep(made, path)
    with Ledger(path) as ledger:
        ledger.settle(settled(made, 7))
    assert sums(path) == (1, 7)


def test_a_crash_between_commit_and_removal_doubles_nothing(path: Path) -> None:
    place = spool.keep(settled(row("a"), 7), path)
    again = place.read_bytes()
    assert sums(path) == (1, 7)
    place.write_bytes(again)
    assert sums(path) == (1, 7)
    assert not place.exists()


def test_a_complete_answer_that_waited_teaches_its_length_once(path: Path) -> None:
    answer = settled(row("a", task="chat"), 7)
    place = spool.keep(answer, path, complete_at_effort="low")
    spool.keep(settled(row("cut"), 7), path)
    again = place.read_bytes()
    for _ in range(2):
        place.write_bytes(again)
        assert sums(path) == (2, 14)
        with Ledger(path) as ledger:
            told = ledger.recall(bucket=0, task="chat", now_ms=answer.settled_ms or 0)
        of_row = (answer.provider, answer.model, "low")
        assert told.output_lengths == {of_row: (1.0, 3.0, 1.0, 3.0)}
        assert not told.reliabilities
        assert not told.latencies


def test_a_failure_before_the_commit_loses_nothing(path: Path) -> None:
    spool.keep(settled(row("a"), 7), path)
    place = spool.keep(settled(row("b", price="x" * 100_000), 0), path)
    with Ledger(path) as ledger:
        ledger.db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(LedgerError, match="full"):
            ledger.tend(NOW_MS)
        assert place.exists()
        assert ledger.db.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
    assert sums(path) == (2, 7)


def test_half_a_line_is_kept_aside_and_costs_no_other_row(path: Path) -> None:
    place = spool.keep(settled(row("a"), 7), path)
    half = place.read_bytes()[:40]
    with place.open("ab") as file:
        file.write(half)
    spool.keep(settled(row("b"), 5), path)
    assert sums(path) == (2, 12)
    assert spool.bad(place).read_bytes() == half + b"\n"
    assert any(str(spool.bad(place)) in note for note in check(path, NOW_MS).notes)


@pytest.mark.parametrize(
    "text", [b"[]", b"null", b'{"request_id": "x"}', b"\xff\xfe", b'{"request_id": null, "attempt": 1}', b"[" * 200_000]
)
def test_lines_that_are_no_rows_are_kept_aside(text: bytes, path: Path) -> None:
    place = spool.keep(settled(row("a"), 7), path)
    place.write_bytes(text + b"\n" + place.read_bytes())
    assert sums(path) == (1, 7)
    assert spool.bad(place).read_bytes() == text + b"\n"


def test_a_value_that_no_column_takes_is_kept_aside(path: Path) -> None:
    place = spool.keep(settled(row("a"), 7), path)
    spool.keep(settled(row("b", input_tokens="seven"), 5), path)
    text = place.read_bytes().replace(b'"input_tokens":7', b'"input_tokens":"seven"', 1)
    place.write_bytes(text)
    assert sums(path)[0] == 1
    assert b"seven" in spool.bad(place).read_bytes()


@pytest.mark.parametrize("label", ["\udcff", ["x"], 2**70])
def test_a_label_that_can_be_kept_nowhere_keeps_no_other_row_from_the_ledger(label: Any, path: Path) -> None:
    place = spool.keep(settled(row("bad", workspace=label), 5), path)
    spool.keep(settled(row("good"), 7), path)
    assert sums(path) == (1, 7)
    assert b"bad" in spool.bad(place).read_bytes()
    assert not place.exists()


def test_a_row_of_a_newer_llmroute_loses_only_what_is_unknown(path: Path) -> None:
    place = spool.keep(settled(row("a"), 7), path)
    place.write_bytes(place.read_bytes().replace(b"{", b'{"mood":"fine",', 1))
    assert sums(path) == (1, 7)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    def write(fd: int, data: bytes, real: Any = os.write) -> int:
        if len(data) > after:
            real(fd, data[:after])
            raise OSError(28, "No space left on device")
        return int(real(fd, data))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        yield


def test_a_disk_that_fills_half_way_leaves_no_half_line_and_another_place_is_used(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spool.keep(settled(row("a"), 7), path)
    before = first.read_bytes()
    with full_disk(monkeypatch, 50), pytest.raises(OSError, match="No space"):
        spool.keep(settled(row("b"), 5), path, tmp_path / "elsewhere-full")
    assert first.read_bytes() == before


def test_a_directory_that_takes_nothing_sends_the_row_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "in the way" / "ledger.db"
    path.parent.write_text("a file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = spool.keep(settled(row("a"), 7), path, elsewhere)
    assert place.is_relative_to(elsewhere)
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert spool.waiting(path, elsewhere) == [place]


@pytest.mark.parametrize("hostile", ["open to others", "a link"])
def test_a_folder_elsewhere_that_is_not_ours_alone_is_not_used(hostile: str, tmp_path: Path) -> None:
    path = tmp_path / "in the way" / "ledger.db"
    path.parent.write_text("a file")
    folder = tmp_path / f"llmroute-{os.getuid()}"
    if hostile == "a link":
        target = tmp_path / "target"
        target.mkdir(mode=0o700)
        folder.symlink_to(target)
    else:
        folder.mkdir()
        folder.chmod(0o755)
    with pytest.raises(OSError, match=r"ours alone|directory"):
        spool.keep(settled(row("a"), 7), path, tmp_path)
    assert list(folder.iterdir()) == []


def test_rows_that_others_have_put_elsewhere_are_not_taken_in(path: Path, tmp_path: Path) -> None:
    place = spool.places(path, tmp_path)[1]
    place.parent.mkdir(mode=0o700)
    place.write_bytes(SpooledRow(settled(row("a"), 7)).line() + b"\n")
    assert spool.waiting(path, tmp_path) == [place]
    place.parent.chmod(0o777)
    assert spool.waiting(path, tmp_path) == []


def test_a_spool_that_cannot_be_read_keeps_nobody_from_the_ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = spool.keep(settled(row("a"), 7), path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with Ledger(path) as ledger, monkeypatch.context() as patch:
        patch.setattr("llmroute.ledger.spool.os.open", refuse)
        ledger.tend(NOW_MS)
    assert place.exists()
    assert sums(path) == (1, 7)


def test_a_link_in_the_place_of_the_spool_is_not_followed(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("")
    spool.places(path)[0].symlink_to(precious)
    place = spool.keep(settled(row("a"), 7), path, tmp_path)
    assert precious.read_text() == ""
    assert place != spool.places(path)[0]


def test_one_reading_is_all_there_is_where_there_is_no_spool(path: Path) -> None:
    with Ledger(path) as ledger:
        said: list[str] = []
        ledger.db.set_trace_callback(said.append)
        ledger.tend(NOW_MS)
        assert [text.split()[0] for text in said] == ["BEGIN", "SELECT", "ROLLBACK"]

"""Locks of files, file systems that have none, and paths that no file can have."""

from __future__ import annotations

import errno
import fcntl
import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from llmroute.batch.results_file import ResultsFile
from llmroute.config.edit import set_value
from llmroute.errors import OutputError, RequestError
from llmroute.files import Hold, locked, regular_target
from llmroute.ledger import spool
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.spool.rows import SpooledRow
from llmroute.ledger.sqlite.locks import folder_held

if TYPE_CHECKING:
    from pathlib import Path


def refuse_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def flock(_fd: int, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_there_are_no_locks_everything_is_written_without(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, code)
    set_value(tmp_path / "config.toml", ("budgets",), "day", 5)
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == {"budgets": {"day": 5}}
    results = ResultsFile(tmp_path / "out.jsonl", resume=False)
    results.write(0, {"id": 1, "content": "yes"})
    results.finish(in_order=True)
    assert (tmp_path / "out.jsonl").read_text() == '{"id": 1, "content": "yes"}\n'
    row = AttemptRow("r", 1, 0, "openai", "m", streaming=False, status="ok")
    place = spool.keep(row, tmp_path / "ledger.db")
    with spool.taken(place) as (rows, strange):
        assert (list(rows), list(strange)) == ([SpooledRow(row)], [])
    with folder_held(tmp_path, Hold.ALONE, LockTimeout(0)):
        pass


def test_a_disk_that_fails_when_it_is_to_lock_is_no_lack_of_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, errno.EIO)
    with pytest.raises(OutputError, match="Input/output error"):
        ResultsFile(tmp_path / "out.jsonl", resume=False)


def test_a_lock_that_is_held_is_waited_for_no_longer_than_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fds = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2)]
    try:
        assert locked(fds[0], 0)
        assert not locked(fds[1], 0.02)
        with pytest.raises(RequestError, match="another run is writing"):
            ResultsFile(path, resume=True)
    finally:
        for fd in fds:
            os.close(fd)
    ResultsFile(path, resume=True).close()


def test_an_output_path_with_a_null_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be written: embedded null"):
        regular_target(tmp_path / "bill\0.csv")

"""What a command does with a ledger that can be read and not written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.opening import lock_timeout
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.ledger_opening import snapshot
from tests.support.provider_servers import House

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def with_a_dead_call(tmp_path: Path, **environ: str) -> Config:
    """Return the settings of a ledger in which the row of a process that died waits to be given up."""
    config = House(tmp_path).service(**environ).config
    with Ledger(config.ledger_path) as ledger:
        ledger.begin(AttemptRow("r", 1, 0, "openai", "m", streaming=False, pid=1, host="elsewhere"))
    return config


def count(config: Config) -> int:
    with snapshot(config, NOW) as reading:
        assert reading is not None
        return len([*reading.attempts(AttemptFilter())])


def test_a_ledger_whose_lock_is_held_is_read_and_not_waited_for_again(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[timeouts]\nledger_s = 0.2\n")
    config = with_a_dead_call(tmp_path)
    with closing(sqlite3.connect(config.ledger_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert count(config) == 1
    assert lock_timeout(config.ledger_path, config.timeouts.ledger_s).left_s == 0


def test_a_ledger_that_cannot_be_written_for_another_reason_is_waited_for_as_ever(tmp_path: Path) -> None:
    config = with_a_dead_call(tmp_path)
    with closing(sqlite3.connect(config.ledger_path)) as db:
        db.execute("CREATE TRIGGER full BEFORE UPDATE ON attempts BEGIN SELECT RAISE(ABORT, 'full'); END")
    assert count(config) == 1
    assert lock_timeout(config.ledger_path, config.timeouts.ledger_s).left_s == config.timeouts.ledger_s

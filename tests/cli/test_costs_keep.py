"""The keeping of the ledger tells what it does."""

from __future__ import annotations

import pytest

from llmroute.cli import costs_keep
from llmroute.ledger.store import Ledger
from llmroute.service import settings


@pytest.mark.parametrize("long", [False, True])
def test_a_check_that_reads_much_says_so_first(
    long: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.load().ledger_path
    Ledger(path).close()
    monkeypatch.setattr(costs_keep, "LONG_BYTES", path.stat().st_size - long)
    costs_keep.check(repair=False, as_json=False)
    told = capsys.readouterr()
    assert told.out.endswith("sound, 0 attempts\n")
    assert ("this takes minutes" in told.err) is long

"""The rollups are the rows, summed, whatever happened to the rows; the reports are the rollups."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.errors import LedgerError
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.reports import total
from llmroute.ledger.sqlite.store import Ledger
from llmroute.types import PICO_PER_USD
from tests.ledger.calls import model_lines

SETTLED = ("ok", "failed", "partial", "interrupted", "lost")
START_MS = 1_790_000_000_000 // BUCKET_MS * BUCKET_MS

counts = st.none() | st.integers(0, 10**6)
facts = st.fixed_dictionaries(
    {
        "started_ms": st.integers(START_MS, START_MS + 6 * BUCKET_MS),
        "provider": st.sampled_from(["openai", "mistral"]),
        "model": st.sampled_from(["a", "b"]),
        "workspace": st.sampled_from([None, "w1", "w2"]),
        "task": st.sampled_from([None, "chat"]),
        "strategy": st.sampled_from([None, "balanced"]),
        "status": st.sampled_from(["pending", *SETTLED]),
        "cost_picousd": st.none() | st.integers(0, 10**14),
        "input_tokens": counts,
        "cached_input_tokens": counts,
        "output_tokens": counts,
        "reasoning_tokens": counts,
        "latency_ms": counts,
    }
)
steps = st.lists(
    st.tuples(st.sampled_from(["begin", "settle", "correct"]), st.integers(1, 3), st.integers(1, 3), facts),
    max_size=15,
)
SUMS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_picousd")


def play(ledger: Ledger, sequence: list[tuple[str, int, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Play a sequence of writes; return the rows that are there at its end."""
    for verb, request, attempt, values in sequence:
        row = AttemptRow(request_id=f"r{request}", attempt=attempt, streaming=False, **values)
        if verb == "begin":
            row.status = "pending"
            ledger.begin(row)
        elif verb == "settle":
            ledger.settle(row)
        elif values["status"] != "pending":
            with ledger.connection.transaction() as db:
                db.execute(
                    "UPDATE attempts SET cost_picousd = ?, output_tokens = ?, status = ?, workspace = ?"
                    " WHERE request_id = ? AND attempt = ? AND status <> 'pending'",
                    (
                        values["cost_picousd"],
                        values["output_tokens"],
                        values["status"],
                        values["workspace"],
                        f"r{request}",
                        attempt,
                    ),
                )
    cursor = ledger.db.execute("SELECT * FROM attempts")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, found, strict=True)) for found in cursor]


def settled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["status"] != "pending"]


@settings(max_examples=60, deadline=None)
@given(sequence=steps)
def test_rollups_equal_the_rows(sequence: list[tuple[str, int, int, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db") as ledger:
        rows = settled(play(ledger, sequence))
        expected: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            key = (
                row["started_ms"] // BUCKET_MS,
                row["provider"],
                row["model"],
                row["workspace"] or "",
                row["task"] or "",
                row["strategy"] or "",
                row["status"],
            )
            expected[*key, "call_count"] += 1
            expected[*key, "unknown_cost_count"] += row["cost_picousd"] is None
            for name in (*SUMS, "latency_ms"):
                expected[*key, name] += row[name] or 0
            expected[*key, "fallback_cost_picousd"] += (row["cost_picousd"] or 0) if row["attempt"] > 1 else 0
        cursor = ledger.db.execute("SELECT * FROM rollups")
        names = [column[0] for column in cursor.description]
        told: Counter[tuple[Any, ...]] = Counter()
        for found in cursor:
            for name, value in zip(names[7:], found[7:], strict=True):
                told[*found[:7], name] = value
        assert +told == +expected
        assert all(value >= 0 for value in told.values())


@settings(max_examples=60, deadline=None)
@given(
    sequence=steps,
    first=st.none() | st.integers(0, 6),
    length=st.integers(0, 7),
    workspace=st.sampled_from([None, "w1", "w9"]),
)
def test_the_report_equals_what_a_person_adds_up(
    sequence: list[tuple[str, int, int, dict[str, Any]]], first: int | None, length: int, workspace: str | None
) -> None:
    since_ms = None if first is None else START_MS + first * BUCKET_MS
    until_ms = START_MS + ((first or 0) + length) * BUCKET_MS
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db") as ledger:
        rows = [
            row
            for row in settled(play(ledger, sequence))
            if (since_ms is None or row["started_ms"] >= since_ms)
            and row["started_ms"] < until_ms
            and workspace in (None, row["workspace"])
        ]
        lines = model_lines(ledger, since_ms, until_ms, workspace)
    groups = {(row["provider"], row["model"]) for row in rows}
    assert {(line.key["provider"], line.key["model"]) for line in lines} == groups
    for line in lines:
        own = [row for row in rows if (row["provider"], row["model"]) == (line.key["provider"], line.key["model"])]
        assert line.call_count == len(own)
        assert line.failed_count == sum(row["status"] not in ("ok", "rejected") for row in own)
        assert line.rejected_count == sum(row["status"] == "rejected" for row in own)
        assert line.unknown_cost_count == sum(row["cost_picousd"] is None for row in own)
        assert line.cost_usd == sum(row["cost_picousd"] or 0 for row in own) / PICO_PER_USD
        for name in SUMS[:-1]:
            assert getattr(line, name) == sum(row[name] or 0 for row in own)
    assert [line.cost_usd for line in lines] == sorted((line.cost_usd for line in lines), reverse=True)
    assert total(lines).call_count == len(rows)
    assert total(lines).input_tokens == sum(row["input_tokens"] or 0 for row in rows)


def test_a_sum_stays_exact_above_what_a_float_holds(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for number in range(3):
            ledger.settle(
                AttemptRow(f"r{number}", 1, START_MS, "p", "m", streaming=False, status="ok", cost_picousd=2**53 + 1)
            )
        [line] = model_lines(ledger, None, START_MS + BUCKET_MS)
        assert line.cost_usd == 3 * (2**53 + 1) / PICO_PER_USD


def test_the_quarter_under_way_is_in_the_report(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.settle(AttemptRow("r", 1, START_MS + 5, "p", "m", streaming=False, status="ok"))
        assert model_lines(ledger, None, START_MS) == []
        assert len(model_lines(ledger, START_MS, START_MS + 6)) == 1


def test_an_empty_report_adds_up_to_nothing() -> None:
    nothing = total([])
    assert (nothing.cost_usd, nothing.call_count, nothing.input_tokens) == (0, 0, 0)


def test_a_ledger_that_cannot_be_read_is_a_ledger_error(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.db.execute("DROP TABLE rollups")
        with pytest.raises(LedgerError, match="no such table"):
            model_lines(ledger, None, START_MS)

"""A row in the spool, as a line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.statistics.values import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEEDED = ("request_id", "attempt", "started_ms", "provider", "model", "streaming", "status", "usage_source")


class SpooledRow(NamedTuple):
    """A row that waits, and the effort of its model if it is a complete answer, whose length is to be learned.

    `begun` says that the ledger has had the beginning of its attempt.
    """

    row: AttemptRow
    complete_at_effort: str | None = None
    begun: bool = False

    @property
    def is_first_of_attempt(self) -> bool:
        """Whether the spool has no earlier row of the attempt: a rejection follows the end that it changes."""
        return self.row.status == "pending" or (self.begun and self.row.status != "rejected")

    @property
    def length(self) -> Observation | None:
        """The observation of the answer's length, and of nothing else: latencies and failures are of the past."""
        row = self.row
        if self.complete_at_effort is None or row.output_tokens is None:
            return None
        return Observation(
            provider=row.provider,
            model=row.model,
            effort=self.complete_at_effort,
            bucket=0,
            at_ms=row.settled_ms or row.started_ms,
            fingerprint="",
            task=row.task or "",
            output_tokens=row.output_tokens,
        )

    def line(self) -> bytes:
        """Return the row as its line, without the newline."""
        fields = {**asdict(self.row), "complete_at_effort": self.complete_at_effort, "begun": self.begun}
        return json.dumps(fields, separators=(",", ":")).encode()


def parsed(lines: Iterable[bytes]) -> tuple[list[SpooledRow], list[bytes]]:
    """Return the rows of lines, and the lines that are none, such as one cut short by a crash."""
    rows: list[SpooledRow] = []
    invalid: list[bytes] = []
    for text in filter(None, lines):
        row = row_of(text)
        if row is None:
            invalid.append(text)
        else:
            rows.append(row)
    return rows, invalid


def row_of(line: bytes) -> SpooledRow | None:
    """Return the row of a line, None where it is no row."""
    try:
        fields: Any = json.loads(line)
        values = {name: fields[name] for name in COLUMNS if name in fields}
        if any(values[name] is None for name in _NEEDED):
            return None
        effort = fields.get("complete_at_effort")
        begun = fields.get("begun") is True
        return SpooledRow(AttemptRow(**values), effort if isinstance(effort, str) else None, begun)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None

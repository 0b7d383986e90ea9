"""The attempts that exports and reports lack, because they were pruned: the ledger keeps only their sums."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.ledger.buckets import BUCKET_MS, bucket_start_ms
from llmroute.ledger.port import Span
from llmroute.ledger.reports import Line, lines_of, total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.ledger.port import AttemptFilter, LedgerSnapshot


def pruned_sum(reading: LedgerSnapshot, wanted: AttemptFilter) -> Line:
    """Return the sum of the pruned attempts of a filter, whatever their execution, by quarters of an hour."""
    since_ms = bucket_start_ms(wanted.since_ms or 0)
    until_ms = reading.pruned_until_ms()
    if wanted.until_ms is not None:
        until_ms = min(until_ms, bucket_start_ms(wanted.until_ms + BUCKET_MS - 1))
    if since_ms >= until_ms:
        return Line()
    span = Span(since_ms, until_ms, wanted.workspace)
    sums = lines_of(reading, ("provider", "model", "status"), span)
    every = total(line for line in sums if _is_wanted(line.key, wanted))
    cost_picousd, call_count, unknown_count = every.cost_picousd, every.call_count, every.unknown_cost_count
    # Those that were pending, or are not deleted yet, are in the sums too.
    for row in reading.attempts(replace(wanted, since_ms=since_ms, until_ms=until_ms, execution=None)):
        if row["status"] != "pending":
            cost_picousd -= row["cost_picousd"] or 0
            call_count -= 1
            unknown_count -= row["cost_picousd"] is None
    return Line(cost_picousd=cost_picousd, call_count=call_count, unknown_cost_count=unknown_count)


def _is_wanted(key: Mapping[str, Any], wanted: AttemptFilter) -> bool:
    names = (None, key["model"], f"{key['provider']}/{key['model']}")
    return wanted.model in names and wanted.status in (None, key["status"])

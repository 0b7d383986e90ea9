"""What a batch tells when it has ended: one line for people, the figures for --meta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.cli.errors import error_as_json
from llmroute.cli.output.tables import money

if TYPE_CHECKING:
    from llmroute.batch.failures_file import FailuresFile
    from llmroute.batch.runner import BatchTotals


PROMPTS_CUT = "without the beginning of the prompt (prompt_cut in the results)"


def summary(tally: BatchTotals, seconds: float, failed: FailuresFile | None) -> str:
    """Return what the batch came to, in one line."""
    counts = (
        (tally.answered, "answered"),
        (tally.earlier, "answered before"),
        (tally.failed, "failed"),
        (tally.bad, "bad lines"),
        (tally.not_run, "not run"),
        (tally.cut_short, "cut short at the model's limit (--max-tokens allows more)"),
        (tally.unread, PROMPTS_CUT),
    )
    parts = [f"{count:,} {what}" for count, what in counts if count or what == "answered"]
    unknown = f" and {tally.unknown_costs:,} unknown costs" if tally.unknown_costs else ""
    told = f"{', '.join(parts)}; {money(tally.cost_usd)}{unknown}, {seconds:.1f} s"
    if tally.models:
        told += f"; by {', '.join(f'{name} ({count:,})' for name, count in tally.models.most_common())}"
    if failed is not None and failed.count:
        told += f"; run {failed.path} for the {failed.count:,} without an answer"
    return told


def interrupted(tally: BatchTotals, *, resumable: bool) -> str:
    """Return how far a batch came that a signal has ended, in one line."""
    answered = tally.answered + tally.earlier
    told = f"interrupted: {answered} of {tally.lines} answered, {tally.lines - answered} left"
    if not tally.read_to_end:
        told += " of what was read; the input was not read to its end"
    return told + ("; the same command with --resume continues" if resumable else "")


def as_json(tally: BatchTotals, earlier_usd: float, seconds: float) -> dict[str, Any]:
    """Return the figures for --meta."""
    return {
        "answered": tally.answered,
        "answered_before": tally.earlier,
        "failed": tally.failed,
        "bad_lines": tally.bad,
        "not_run": tally.not_run,
        "lines_read": tally.lines,
        "read_to_end": tally.read_to_end,
        "cut_short": tally.cut_short,
        "prompts_cut": tally.unread,
        "models": dict(tally.models.most_common()),
        "cost_usd": tally.cost_usd,
        "cost_before_usd": earlier_usd,
        "unknown_cost_count": tally.unknown_costs,
        "seconds": round(seconds, 3),
        "stopped_by": None if tally.stopped_by is None else error_as_json(tally.stopped_by)["error"],
    }

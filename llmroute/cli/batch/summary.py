"""The state of a batch in one line of text, and its final figures as JSON for --meta."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from llmroute.cli.errors import error_as_json
from llmroute.text.money import money

if TYPE_CHECKING:
    from llmroute.batch.failures_file import FailuresFile
    from llmroute.batch.totals import BatchTotals
    from llmroute.jobs.run import RunProgress

PROMPTS_CUT = "with a prompt that the model truncated (prompt_cut in the results)"


def summary(totals: BatchTotals, seconds: float, failures: FailuresFile | None) -> str:
    """Return the counts, cost and models of a batch in one line."""
    counts = (
        (totals.answered, "answered"),
        (totals.answered_before, "already answered"),
        (totals.failed, "failed"),
        (totals.invalid, "invalid lines"),
        (totals.not_run, "not run"),
        (totals.interrupted, "interrupted"),
        (totals.truncated, "truncated at the model's output limit (--max-tokens allows more)"),
        (totals.budget_cuts, "truncated at the limit that a budget set (a larger budget or --max-tokens allows more)"),
        (totals.prompts_cut, PROMPTS_CUT),
    )
    parts = [f"{count:,} {label}" for count, label in counts if count or label == "answered"]
    unknown = f" plus {totals.unknown_costs:,} unknown costs" if totals.unknown_costs else ""
    line = f"{', '.join(parts)}; {money(totals.cost_usd)}{unknown}, {seconds:.1f} s"
    if totals.models:
        line += f"; by {', '.join(f'{name} ({count:,})' for name, count in totals.models.most_common())}"
    if failures is not None and failures.count:
        line += f"; requests without an answer: {failures.path} ({failures.count:,})"
    return line


def interruption(totals: BatchTotals, *, resumable: bool) -> str:
    """Return the progress of a batch that was ended by a signal, in one line."""
    answered = totals.answered + totals.answered_before
    line = f"interrupted: {answered} of {totals.lines} answered, {totals.lines - answered} left"
    if not totals.read_to_end:
        line += " (the input was not read completely)"
    return line + ("; run the same command with --resume to continue" if resumable else "")


def summary_as_json(totals: BatchTotals, earlier_cost_usd: float, seconds: float) -> dict[str, Any]:
    """Return the figures of a batch for --meta."""
    return {
        "answered": totals.answered,
        "answered_before": totals.answered_before,
        "failed": totals.failed,
        "bad_lines": totals.invalid,
        "not_run": totals.not_run,
        "interrupted": totals.interrupted,
        "lines_read": totals.lines,
        "read_to_end": totals.read_to_end,
        "cut_short": totals.truncated + totals.budget_cuts,
        "prompts_cut": totals.prompts_cut,
        "models": dict(totals.models.most_common()),
        "cost_usd": totals.cost_usd,
        "cost_before_usd": earlier_cost_usd,
        "unknown_cost_count": totals.unknown_costs,
        "seconds": round(seconds, 3),
        "stopped_by": None if totals.stopped_by is None else error_as_json(totals.stopped_by)["error"],
    }


def jobs_text(progress: RunProgress) -> str:
    """Return the state of jobs for the progress bar."""
    jobs = f"{progress.jobs} job{'' if progress.jobs == 1 else 's'}"
    reported = f" ({progress.reported:,} lines run)" if progress.reported else ""
    return f"{jobs}{reported}, {_hours(progress.age_s)} old, {_hours(progress.left_s)} left"


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

"""Run one batch from the command line: progress, signals, the summary and the exit code."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from llmroute import exit_codes
from llmroute.cli import signals
from llmroute.cli.batch.output import BatchOutput
from llmroute.cli.batch.summary import PROMPTS_CUT, interruption, jobs_text, summary, summary_as_json
from llmroute.cli.errors import error_as_json, error_with_hint, say, unchecked
from llmroute.cli.output.progress import Bar, ProgressState
from llmroute.cli.output.tables import response_as_json
from llmroute.cli.output.writers import first_block
from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from llmroute.batch.reader import Request
    from llmroute.batch.totals import BatchTotals
    from llmroute.bulk.batch_result import BatchResult
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.options import BatchOptions
    from llmroute.cli.session import Session
    from llmroute.jobs.run import RunProgress

# Every error is in the results; stderr shows only the first ones.
MAX_PRINTED_ERRORS = 50


class RunningBatch(Protocol):
    """A running batch, by ordinary requests or by batch jobs."""

    @property
    def totals(self) -> BatchTotals:
        """Its counts and costs so far."""

    def stop(self, reason: LLMRouteError) -> None:
        """Start no more requests; those in flight finish."""

    def interrupt(self) -> None:
        """Stop: start no more requests or jobs."""


class BatchRunner:
    """One batch on the command line, the `batch.output.JobReporter` of it."""

    def __init__(
        self, arguments: RequestArguments, batch: BatchOptions, session: Session, total: int | None, source: int
    ) -> None:
        """`total` is the number of lines, None if unknown; `source` is the descriptor of the input.

        Raises:
            LLMRouteError: the results file cannot be written or resumed.
        """
        self._arguments = arguments
        self._batch_arguments = batch
        self._session = session
        self._total = total
        self._printed_errors = 0
        self._bar = Bar(quiet=arguments.quiet)
        self.output = BatchOutput(batch.output, resume=batch.resume, source=source, stop=self._stop)
        self._running: RunningBatch | None = None
        self._jobs_text = ""

    @property
    def left_usd(self) -> float | None:
        """The budget minus the cost of earlier runs, None without a budget."""
        budget_usd = self._arguments.budget_usd
        return None if budget_usd is None else max(budget_usd - self.output.earlier_cost_usd, 0.0)

    def run(self, batch: RunningBatch, work: Coroutine[Any, Any, None]) -> int:
        """Run the work of a batch and return its exit code.

        The code is 0, 4 (another run may answer more), that of the error that stopped the batch or prevents the
        remaining answers, 3 (results could not be written), or 6 (all are answered, some incomplete).

        Raises:
            RequestError: the number of concurrent requests is out of range, or the input is not in its format.
            Interrupted: a signal ended the batch; attempts in flight are settled and the files are complete.
        """
        started_s = time.monotonic()
        self._running = batch
        complete = False
        try:
            with self._bar:
                signal_number = signals.run_until_signal(self._and_close_service(work), self._wind_down)
            complete = signal_number is None or batch.totals.read_to_end
        except LLMRouteError:
            self.output.withdraw()
            raise
        finally:
            self.output.finish(in_order=not self._batch_arguments.unordered, complete=complete)
        if signal_number is not None:
            say(interruption(batch.totals, resumable=self.output.resumable))
        self._report(batch.totals, time.monotonic() - started_s)
        if signal_number is not None:
            raise signals.Interrupted(signal_number)
        return self._exit_code(batch.totals)

    def _stop(self, error: LLMRouteError) -> None:
        if self._running is not None:
            self._running.stop(error)

    def _wind_down(self) -> None:
        if self._running is not None:
            self._running.interrupt()
        if sys.stderr.isatty() and not self._arguments.quiet:
            say(f"requests in flight have {signals.GRACE_S:.0f} s to finish; a second signal cancels them")

    async def _and_close_service(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._session.service:
            await work

    def as_record(self, result: BatchResult) -> dict[str, Any]:
        """Return a result as a JSON object."""
        if result.response is None:
            assert result.error is not None
            record = error_as_json(result.error)
            if (response := unchecked(result.error)) is not None:
                record["unchecked"] = response_as_json(response)
            return record
        record = response_as_json(result.response)
        return {**record, "content": first_block(record["content"])} if self._arguments.extract else record

    def add_failure(self, request: Request, error: LLMRouteError | None) -> None:
        """Add a request without an answer to the list of failures."""
        if not self.output.add_failure(request.source) and error is not None:
            self.print_error(request.line, error)

    def print_error(self, line: int, error: LLMRouteError) -> None:
        """Print the error of a line."""
        self._printed_errors += 1
        if self._printed_errors <= MAX_PRINTED_ERRORS:
            say(f"line {line}: {error_with_hint(error)}")
        elif self._printed_errors == MAX_PRINTED_ERRORS + 1:
            say("further errors are listed in the results only")

    def show_progress(self, totals: BatchTotals) -> None:
        """Show the state of the batch."""
        self._bar.show(
            ProgressState(
                "batch",
                totals.done,
                self._total,
                failed=totals.failed + totals.invalid,
                cost_usd=self.output.earlier_cost_usd + totals.cost_usd,
                budget_usd=self._arguments.budget_usd,
                more=self._jobs_text,
            )
        )

    def show_jobs(self, progress: RunProgress) -> None:
        """Show the state of a batch with the jobs that it is in."""
        assert self._running is not None
        self._jobs_text = jobs_text(progress)
        self.show_progress(self._running.totals)

    def _report(self, totals: BatchTotals, seconds: float) -> None:
        output = self.output
        self._session.record_json(summary_as_json(totals, output.earlier_cost_usd, seconds))
        if totals.stopped_by is not None:
            unread = "" if totals.read_to_end else f"; the input was not read completely ({totals.lines:,} lines read)"
            say(f"stopped: {error_with_hint(totals.stopped_by)}{unread}")
        if totals.first_failure is not None and not totals.answered:
            say(f"no request was answered; the first failed: {error_with_hint(totals.first_failure)}")
        if output.unwritten:
            say(f"paid answers that could not be written: {output.unwritten:,} (the ledger has their cost)")
        if not self._arguments.quiet:
            say(summary(totals, seconds, output.failures))
        elif totals.prompts_cut:
            say(f"{totals.prompts_cut:,} {PROMPTS_CUT}")

    def _exit_code(self, totals: BatchTotals) -> int:
        if self.output.broken:
            return exit_codes.SETUP
        if totals.stopped_by is not None:
            return totals.stopped_by.exit_code
        if totals.failed or totals.invalid or totals.not_run:
            return _code_of_failures(totals)
        return exit_codes.INCOMPLETE if totals.truncated or totals.budget_cuts else exit_codes.OK


def _code_of_failures(totals: BatchTotals) -> int:
    """Return 4 where another run may answer more, else the code of the errors that prevent the remaining answers."""
    codes = totals.failure_codes
    if totals.not_run or codes & {exit_codes.TRY_LATER, exit_codes.DEADLINE}:
        return exit_codes.TRY_LATER
    return next(code for code in (exit_codes.SETUP, exit_codes.USAGE, *sorted(codes)) if code in codes)

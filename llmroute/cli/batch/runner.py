"""Run one batch from the command line: progress, signals, the summary and the exit code."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes
from llmroute.batch.runner import Batch, BatchLimits
from llmroute.cli import signals
from llmroute.cli.batch.output import BatchOutput
from llmroute.cli.batch.summary import PROMPTS_CUT, interruption, summary, summary_as_json
from llmroute.cli.errors import error_as_json, error_with_hint, say
from llmroute.cli.output.progress import Bar, ProgressState
from llmroute.cli.output.tables import response_as_json
from llmroute.cli.output.writers import first_block
from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from llmroute.batch.reader import Request
    from llmroute.batch.totals import BatchTotals
    from llmroute.bulk.worker_pool import BatchResult
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.arguments import BatchArguments
    from llmroute.cli.session import Session

# Every error is in the results; stderr shows only the first ones.
MAX_PRINTED_ERRORS = 50


class BatchRunner:
    """One batch on the command line."""

    def __init__(
        self, arguments: RequestArguments, batch: BatchArguments, session: Session, total: int | None, source: int
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
        self._output = BatchOutput(batch.output, resume=batch.resume, source=source, stop=self._stop)
        self._batch = Batch(
            self._output,
            as_record=self._as_record,
            on_failure=self._add_failure,
            on_invalid_line=self._print_error,
            on_progress=self._show_progress,
        )

    def run(self, requests: Iterator[Request], *, blocking: bool) -> int:
        """Run the batch and return its exit code; `blocking` says that reading the next line may block.

        The code is 0, 4 (another run may answer more), that of the error that stopped the batch or prevents the
        remaining answers, 3 (results could not be written), or 6 (all are answered, some incomplete).

        Raises:
            RequestError: the number of jobs is out of range, or the input is not in its format.
            Interrupted: a signal ended the batch; attempts in flight are settled and the files are complete.
        """
        started_s = time.monotonic()
        batch = self._batch_arguments
        budget_usd = self._arguments.budget_usd
        left_usd = None if budget_usd is None else max(budget_usd - self._output.earlier_cost_usd, 0.0)
        limits = BatchLimits(batch.jobs, batch.output is None and not batch.unordered, left_usd)
        work = self._batch.run(self._session.service, requests, limits, blocking=blocking)
        complete = False
        try:
            with self._bar:
                signal_number = signals.run_until_signal(self._and_close_service(work), self._wind_down)
            complete = signal_number is None or self._batch.totals.read_to_end
        except LLMRouteError:
            self._output.withdraw()
            raise
        finally:
            self._output.finish(in_order=not batch.unordered, complete=complete)
        if signal_number is not None:
            say(interruption(self._batch.totals, resumable=self._output.resumable))
        self._report(time.monotonic() - started_s)
        if signal_number is not None:
            raise signals.Interrupted(signal_number)
        return self._exit_code()

    def _stop(self, error: LLMRouteError) -> None:
        self._batch.stop(error)

    def _wind_down(self) -> None:
        self._batch.interrupt()
        if sys.stderr.isatty() and not self._arguments.quiet:
            say(f"requests in flight have {signals.GRACE_S:.0f} s to finish; a second signal cancels them")

    async def _and_close_service(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._session.service:
            await work

    def _as_record(self, result: BatchResult) -> dict[str, Any]:
        if result.response is None:
            assert result.error is not None
            return error_as_json(result.error)
        record = response_as_json(result.response)
        return {**record, "content": first_block(record["content"])} if self._arguments.extract else record

    def _add_failure(self, request: Request, error: LLMRouteError | None) -> None:
        if not self._output.add_failure(request.source) and error is not None:
            self._print_error(request.line, error)

    def _print_error(self, line: int, error: LLMRouteError) -> None:
        self._printed_errors += 1
        if self._printed_errors <= MAX_PRINTED_ERRORS:
            say(f"line {line}: {error_with_hint(error)}")
        elif self._printed_errors == MAX_PRINTED_ERRORS + 1:
            say("further errors are listed in the results only")

    def _show_progress(self, totals: BatchTotals) -> None:
        self._bar.show(
            ProgressState(
                "batch",
                totals.done,
                self._total,
                failed=totals.failed + totals.invalid,
                cost_usd=self._output.earlier_cost_usd + totals.cost_usd,
                budget_usd=self._arguments.budget_usd,
            )
        )

    def _report(self, seconds: float) -> None:
        totals, output = self._batch.totals, self._output
        self._session.record_json(summary_as_json(totals, output.earlier_cost_usd, seconds))
        if totals.stopped_by is not None:
            unread = "" if totals.read_to_end else f"; the input was not read to its end ({totals.lines:,} lines read)"
            say(f"stopped: {error_with_hint(totals.stopped_by)}{unread}")
        if output.unwritten:
            say(f"paid answers that could not be written: {output.unwritten:,} (the ledger has their cost)")
        if not self._arguments.quiet:
            say(summary(totals, seconds, output.failures))
        elif totals.prompts_cut:
            say(f"{totals.prompts_cut:,} {PROMPTS_CUT}")

    def _exit_code(self) -> int:
        totals = self._batch.totals
        if self._output.broken:
            return exit_codes.SETUP
        if totals.stopped_by is not None:
            return totals.stopped_by.exit_code
        if totals.failed or totals.invalid or totals.not_run:
            return _code_of_failures(totals)
        return exit_codes.INCOMPLETE if totals.truncated else exit_codes.OK


def _code_of_failures(totals: BatchTotals) -> int:
    """Return 4 where another run may answer more, else the code of the errors that prevent the remaining answers."""
    codes = totals.failure_codes
    if totals.not_run or codes & {exit_codes.TRY_LATER, exit_codes.DEADLINE}:
        return exit_codes.TRY_LATER
    return next(code for code in (exit_codes.SETUP, exit_codes.USAGE, *sorted(codes)) if code in codes)

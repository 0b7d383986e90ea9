"""One batch under way on the command line: where results go, what is told meanwhile, and how it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes
from llmroute.batch.failures_file import FailuresFile
from llmroute.batch.results_file import ResultsFile
from llmroute.batch.resume import PriorResults
from llmroute.batch.runner import Batch, BatchLimits
from llmroute.cli import signals
from llmroute.cli.batch.summary import PROMPTS_CUT, as_json, interrupted, summary
from llmroute.cli.errors import error_as_json, say, told_with_hint
from llmroute.cli.output.progress import Bar, ProgressState
from llmroute.cli.output.stdout import write_json
from llmroute.cli.output.tables import response_as_json
from llmroute.cli.output.writers import first_block
from llmroute.cli.standard_streams import OutputFailed
from llmroute.errors import LLMRouteError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reader import Request
    from llmroute.batch.runner import BatchTotals
    from llmroute.bulk.worker_pool import BatchResult
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.command import BatchArguments
    from llmroute.cli.session import Session

# Each line is in the results; a file that is bad as a whole need not be told on stderr line by line.
MOST_COMPLAINTS = 50


class _ToStdout:
    """Results on stdout; ids are watched all the same, since a result is known by its id."""

    def __init__(self) -> None:
        self._known = PriorResults()

    def meet(self, _place: int, key: str | int) -> bool:
        self._known.meet(key)
        return False

    def write(self, _place: int, record: dict[str, Any]) -> None:
        write_json(record)

    def close(self) -> None:
        """Leave stdout open."""


class BatchRunner:
    """One batch on the command line."""

    def __init__(
        self, asked: RequestArguments, how: BatchArguments, under_way: Session, total: int | None, source: int
    ) -> None:
        """`total` is how many lines there are, None where nobody knows; `source` the descriptor of the input.

        Raises:
            LLMRouteError: the results cannot be written where they were to go.
        """
        self._asked = asked
        self._how = how
        self._under_way = under_way
        self._total = total
        self._complaints = 0
        self.results = _ToStdout() if how.output is None else ResultsFile(how.output, resume=how.resume, source=source)
        self._failed = None
        if how.output is not None and _is_lasting(how.output):
            self._failed = FailuresFile(how.output.with_name(f"{how.output.name}.failed"))
        self._broken = False
        self._unwritten = 0
        self._stdout_failed = False
        self._earlier_usd = self.results.earlier_usd if isinstance(self.results, ResultsFile) else 0.0
        self._bar = Bar(quiet=asked.quiet)
        self._batch = Batch(
            self, as_record=self._as_record, fail=self._fail, complain=self._complain, progress=self._show
        )

    def run(self, requested: Iterator[Request], *, blocking: bool) -> int:
        """See the batch through; `blocking` says that the next line may have to be waited for.

        Returns its exit code: 0, 4 (another run may answer more), that of what stopped it or keeps all that is left
        from being answered, 3 (the results cannot be written), or 6 (all were answered, some cut short).

        Raises:
            RequestError: the number of jobs cannot be, or the input is not what it was said to be.
            Interrupted: a signal has ended it; what was under way is settled, and the files are whole.
        """
        started_s = time.monotonic()
        budget_usd = self._asked.budget
        left_usd = None if budget_usd is None else max(budget_usd - self._earlier_usd, 0.0)
        work = self._batch.run(
            self._under_way.service,
            requested,
            BatchLimits(self._how.jobs, self._how.output is None and not self._how.unordered, left_usd),
            blocking=blocking,
        )
        whole = False
        try:
            with self._bar:
                ended_by = signals.run_until_signal(self._and_close(work), self._wind_down)
            whole = ended_by is None or self._batch.tally.read_to_end
        except LLMRouteError:
            if isinstance(self.results, ResultsFile):
                self.results.withdraw()
            raise
        finally:
            try:
                self._finish_results()
            finally:
                self._finish_failed(whole=whole)
        if ended_by is not None:
            say(interrupted(self._batch.tally, resumable=self._resumable()))
        self._tell(time.monotonic() - started_s)
        if ended_by is not None:
            raise signals.Interrupted(ended_by)
        return self._exit_code()

    def _wind_down(self) -> None:
        self._batch.interrupt()
        if sys.stderr.isatty() and not self._asked.quiet:
            say(f"what is under way has {signals.GRACE_S:.0f} s to end; a second signal drops it")

    def _resumable(self) -> bool:
        return self._how.output is not None and _is_lasting(self._how.output) and not self._broken

    async def _and_close(self, work: Any) -> None:
        async with self._under_way.service:
            await work

    def meet(self, place: int, key: str | int) -> bool:
        """As `Results.meet`."""
        return self.results.meet(place, key)

    def write(self, place: int, record: dict[str, Any]) -> None:
        """Write a result; where its file takes no more, what was paid for goes to stdout, and no more is asked."""
        if not self._broken:
            try:
                self.results.write(place, record)
            except OSError as error:
                told = f"{self._how.output} cannot be written ({error.strerror}): answers still under way go to stdout"
                say(f"warning: {told}")
                self._break_off(told)
            except OutputFailed as failure:
                self._stdout_failed = True
                self._break_off(str(failure))
            else:
                return
        if not self._stdout_failed:
            try:
                write_json(record)
            except OutputFailed as failure:
                self._stdout_failed = True
                say(f"warning: {failure}")
            else:
                return
        self._unwritten += "content" in record

    def _break_off(self, why: str) -> None:
        self._broken = True
        self._batch.stop(OutputError(why))

    def _as_record(self, result: BatchResult) -> dict[str, Any]:
        if result.response is None:
            assert result.error is not None
            return error_as_json(result.error)
        record = response_as_json(result.response)
        return {**record, "content": first_block(record["content"])} if self._asked.extract else record

    def _fail(self, request: Request, error: LLMRouteError | None) -> None:
        if self._failed is not None:
            try:
                self._failed.write(request.source)
            except OSError as failure:
                self._give_up_failed(failure)
        elif error is not None:
            self._complain(request.line, error)

    def _complain(self, line: int, error: LLMRouteError) -> None:
        self._complaints += 1
        if self._complaints <= MOST_COMPLAINTS:
            say(f"line {line}: {told_with_hint(error)}")
        elif self._complaints == MOST_COMPLAINTS + 1:
            say("more lines without an answer are in the results only")

    def _show(self, tally: BatchTotals) -> None:
        spent_usd = self._earlier_usd + tally.cost_usd
        failed = tally.failed + tally.bad
        budget_usd = self._asked.budget
        self._bar.show(
            ProgressState("batch", tally.done, self._total, failed=failed, cost_usd=spent_usd, budget_usd=budget_usd)
        )

    def _finish_results(self) -> None:
        if isinstance(self.results, ResultsFile) and not self._broken:
            try:
                self.results.finish(in_order=not self._how.unordered)
            except OSError as error:
                say(f"warning: {self._how.output} is as the answers came, and could not be finished: {error.strerror}")

    def _finish_failed(self, *, whole: bool) -> None:
        if self._failed is None:
            return
        if not whole:
            self._failed.drop()
            self._failed = None
            return
        try:
            self._failed.finish()
        except OSError as error:
            self._give_up_failed(error)

    def _give_up_failed(self, error: OSError) -> None:
        """Say once that nobody lists what fails; it stands in the results, and --resume asks for it again."""
        assert self._failed is not None
        say(f"warning: {self._failed.path} cannot be written ({error.strerror}); --resume asks again for what fails")
        self._failed.drop()
        self._failed = None

    def _tell(self, seconds: float) -> None:
        tally = self._batch.tally
        self._under_way.tell_aside(as_json(tally, self._earlier_usd, seconds))
        if tally.stopped_by is not None:
            unread = "" if tally.read_to_end else f"; {tally.lines:,} lines were read, and not the input's end"
            say(f"stopped: {told_with_hint(tally.stopped_by)}{unread}")
        if self._unwritten:
            say(f"answers paid for that could not be written: {self._unwritten:,} (the ledger has what they cost)")
        if not self._asked.quiet:
            say(summary(tally, seconds, self._failed))
        elif tally.unread:
            say(f"{tally.unread:,} {PROMPTS_CUT}")

    def _exit_code(self) -> int:
        tally = self._batch.tally
        if self._broken:
            return exit_codes.NEEDS_A_PERSON
        if tally.stopped_by is not None:
            return tally.stopped_by.exit_code
        if tally.failed or tally.bad or tally.not_run:
            return _code_of_failures(tally)
        return exit_codes.INCOMPLETE if tally.cut_short else exit_codes.OK


def _is_lasting(path: Path) -> bool:
    """Tell a file, which can be gone on with and has room beside it, from a device, a pipe and a descriptor's name."""
    folder = path.absolute().parent.resolve()
    named = folder.is_relative_to("/proc") or (folder == Path("/dev") and path.is_symlink())
    return path.is_file() and not named


def _code_of_failures(tally: BatchTotals) -> int:
    """Return 4 where another run may get further, else the code of what keeps the rest from being answered."""
    codes = tally.failure_codes
    if tally.not_run or codes & {exit_codes.TRY_LATER, exit_codes.DEADLINE}:
        return exit_codes.TRY_LATER
    return next(code for code in (exit_codes.NEEDS_A_PERSON, exit_codes.USAGE, *sorted(codes)) if code in codes)

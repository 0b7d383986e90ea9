"""From lines to sealed jobs: grouped by provider and model, cut at the limits of the provider, reserved in groups."""

from __future__ import annotations

import os
from math import inf
from typing import IO, TYPE_CHECKING

from llmroute.execution.accounting.caps import current_caps
from llmroute.execution.accounting.ledger_writer import DRAFTS
from llmroute.jobs.line_schemas import SchemaChanges
from llmroute.jobs.private_file import new_file, writing
from llmroute.jobs.submitting.drafts import job_line, pending_row, worst_under
from llmroute.ledger.entries import OutdatedCapsError, Pending
from llmroute.ledger.jobs import Job, NewLine, custom_id
from llmroute.ledger.processes import this_process
from llmroute.planning.usage_cost import price_as_json
from llmroute.request.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.errors import BudgetExceededError
    from llmroute.jobs.context import JobContext
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.jobs.submitting.drafts import Draft

GROUP = 200
"""Lines that are reserved in one transaction."""
_FIELD_BYTES = 160
"""More than the fields of a line around its body take."""


class Run:
    """The run that jobs belong to."""

    def __init__(self, settings: RunSettings, run_id: str, deadline_ms: int) -> None:
        self.settings = settings
        self.id = run_id
        self.deadline_ms = deadline_ms


class _OpenJob:
    """A job that takes lines."""

    def __init__(self, job: Job, file: IO[bytes], schemas: SchemaChanges) -> None:
        self.job = job
        self.file = file
        self.schemas = schemas
        self.next_n = 0
        self.size = 0
        self.tokens = 0
        self.drafts: list[Draft] = []


class Intake:
    """Takes lines for a run; a job is sealed when it is full, or by `seal`."""

    def __init__(self, context: JobContext, run: Run) -> None:
        self._context = context
        self._run = run
        self._open: dict[tuple[str, str], _OpenJob] = {}
        self.sealed: list[Job] = []
        """The jobs that were sealed since the caller has looked."""
        self.refused: list[tuple[Draft, BudgetExceededError]] = []
        """Lines that a cap has refused, likewise."""

    async def take(self, made: Draft) -> None:
        """Take a line.

        Raises:
            LedgerError: lines cannot be reserved.
            OutputError: the file to upload cannot be written.
        """
        with writing(self._context.folder):
            await self._take(made)

    async def _take(self, made: Draft) -> None:
        model = made.entry.model
        key = model.provider, model.id
        limits = self._context.vendor(model.provider).api.limits
        line_bytes = len(made.body) + _FIELD_BYTES
        line_tokens = made.request.size.for_model(model).expected_input
        taking = self._open.get(key)
        if taking is not None and (
            taking.next_n + len(taking.drafts) >= limits.lines
            or taking.size + line_bytes > limits.input_bytes
            or taking.tokens + line_tokens > (self._context.queued_tokens(*key) or inf)
        ):
            await self._seal(key)
            taking = None
        if taking is None:
            taking = self._open[key] = await self._begin(made)
        taking.drafts.append(made)
        taking.size += line_bytes
        taking.tokens += line_tokens
        if len(taking.drafts) >= GROUP:
            await self._reserve(taking)

    async def seal(self) -> None:
        """Seal all jobs.

        Raises:
            LedgerError, OutputError: as `take`.
        """
        with writing(self._context.folder):
            for key in list(self._open):
                await self._seal(key)

    async def _begin(self, made: Draft) -> _OpenJob:
        context, run = self._context, self._run
        settings, model = run.settings, made.entry.model
        job = Job(
            id=new_id(),
            run=run.id,
            output=settings.output,
            input_digest=settings.input_digest,
            options_digest=settings.options_digest,
            provider=model.provider,
            model=model.id,
            phase="submitting",
            lines=0,
            created_ms=self._context.now_ms(),
            deadline_ms=run.deadline_ms,
            price=price_as_json(made.price),
            host=this_process().host,
        )
        await context.run(context.journal.add, job)
        return _OpenJob(job, new_file(context.input_path(job.id)), SchemaChanges(context.classes))

    async def _reserve(self, taking: _OpenJob) -> None:
        """Reserve the drafts of a job, and write those that fit into its file."""
        context, job, drafts = self._context, taking.job, taking.drafts
        taking.drafts = []
        given = [(n, made.request.prompt.schema) for n, made in enumerate(drafts, taking.next_n)]
        if schemas := taking.schemas.of(given):
            await context.run(context.journal.add_schemas, job.id, schemas)
        for _ in range(DRAFTS):
            lines = self._lines(job, enumerate(drafts, taking.next_n))
            try:
                outcomes = await context.run(context.journal.reserve, job.id, lines)
                break
            except OutdatedCapsError as error:
                changed = error
        else:
            raise changed
        taking.next_n += len(drafts)
        api = context.vendor(job.provider).api
        for made, (line, pending), refusal in zip(drafts, lines, outcomes, strict=True):
            if refusal is not None:
                made.release()
                self.refused.append((made, refusal))
                continue
            if made.reservation is not None:
                made.reservation.admitted(pending.row.reserved_picousd or 0)
            taking.file.write(api.line(custom_id(job.id, line.n), made.body) + b"\n")
            taking.job = taking.job._replace(lines=taking.job.lines + 1)

    def _lines(self, job: Job, drafts: Iterable[tuple[int, Draft]]) -> list[NewLine]:
        """Return drafts as lines of a job, under the caps that are in force."""
        limits, lines = self._context.writer.caps.limits(), []
        for n, made in drafts:
            row = pending_row(self._context, made, custom_id(job.id, n), job.deadline_ms)
            own = [limit for limit in limits if limit.workspace in ("", row.workspace)]
            caps = current_caps(own, row.started_ms)
            worst = worst_under(made, caps)
            row.cost_basis = "estimated" if worst is None else "at_most"
            lines.append(NewLine(job_line(made, n), Pending(row, caps, worst)))
        return lines

    async def _seal(self, key: tuple[str, str]) -> None:
        context, taking = self._context, self._open[key]
        await self._reserve(taking)
        del self._open[key]
        taking.file.flush()
        os.fsync(taking.file.fileno())
        taking.file.close()
        if not taking.job.lines:
            await context.run(context.journal.drop, taking.job.id, self._context.now_ms())
            context.delete_input(taking.job.id)
            return
        job = taking.job._replace(sealed=True)
        await context.run(context.journal.save, job)
        self.sealed.append(job)

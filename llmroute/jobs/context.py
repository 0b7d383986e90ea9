"""Resources that the parts of a run of batch jobs share."""

from __future__ import annotations

from functools import cached_property
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

from llmroute.jobs.private_file import unnamed_file, writing
from llmroute.jobs.run_settings import GIVE_UP_S
from llmroute.jobs.vendor import Vendor
from llmroute.ledger.jobs import files_of_jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.resources import Resources
    from llmroute.ledger.jobs import Job, JobJournal
    from llmroute.planning.endpoints import Endpoints
    from llmroute.types import HTTPRequest

P = ParamSpec("P")
T = TypeVar("T")


class JobContext:
    """The resources of a run: the journal, the providers, the folder of files to upload, and the budget."""

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        *,
        factory: RequestFactory,
        resources: Resources,
        endpoints: Endpoints,
        note: Callable[[str], None],
        trace: Callable[[str], None],
        shared_budget: SharedBudget | None,
        writer: LedgerWriter,
    ) -> None:
        self.factory = factory
        self.writer = writer
        self.resources = resources
        self.endpoints = endpoints
        self.note = note
        self.trace = trace
        self.shared_budget = shared_budget
        self._vendors: dict[str, Vendor] = {}
        self.classes: dict[str, type] = {}
        """The pydantic classes that schemas of this process were made from, by `line_schemas.class_name`."""

    @property
    def journal(self) -> JobJournal:
        """The journal of the ledger; it may block.

        Raises:
            LedgerError: the ledger cannot be opened.
        """
        return self.resources.ledger().jobs

    def now_ms(self) -> int:
        """Return the time of day in UTC milliseconds, by the clock of the ledger."""
        return self.writer.access.now_ms()

    async def run(self, call: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Make a call that may block, in a thread."""
        return await self.resources.threads().run(lambda: call(*values, **named))

    def vendor(self, name: str) -> Vendor:
        """Return the batch API of a provider."""
        if name not in self._vendors:
            self._vendors[name] = Vendor(name, self.endpoints, self.resources.async_sender, self.trace, self.now_ms)
        return self._vendors[name]

    def queued_tokens(self, provider: str, model: str) -> int | None:
        """Return the most tokens of prompts that may wait for a model, None if that is not known."""
        own = self.factory.models.registry.get_model_config(provider, model).batch_queue_tokens
        return own or self.vendor(provider).api.limits.queued_tokens

    @cached_property
    def folder(self) -> Path:
        """The folder of the lines to upload, beside the ledger."""
        return files_of_jobs(self.resources.ledger_path)

    def input_path(self, job: str) -> Path:
        """Return the file with the lines of a job, as they are uploaded."""
        return self.folder / f"{job}.jsonl"

    def schemas_path(self, job: str) -> Path:
        """Return the file with the schemas of the lines of a job."""
        return self.folder / f"{job}.schemas"

    async def downloaded(self, job: Job, request: HTTPRequest) -> IO[bytes]:
        """Download results of a job; return them as a file without a name, at its beginning.

        The download may take until the deadline of the job, and at least `GIVE_UP_S`.

        Raises:
            AttemptError: the download failed, was cut off, or did not end in time.
            OutputError: the file cannot be written.
        """
        within_s = max((job.deadline_ms - self.now_ms()) // 1000, GIVE_UP_S)
        with writing(self.folder):
            file = unnamed_file(self.folder)
            try:
                await self.vendor(job.provider).download(request, file, within_s)
            except BaseException:
                file.close()
                raise
        return file

    def delete_input(self, job: str) -> None:
        """Delete the files with the lines of a job and their schemas."""
        self.input_path(job).unlink(missing_ok=True)
        self.schemas_path(job).unlink(missing_ok=True)

"""Mistral's batch API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from llmroute.providers.batch_jobs.file_jobs import FileJobs, faults_in
from llmroute.providers.batch_jobs.job import (
    LABEL,
    JobLimits,
    JobPage,
    JobState,
    JobStatus,
    optional,
    unix_s,
)
from llmroute.providers.wire import lenient_json

if TYPE_CHECKING:
    from llmroute.providers.wire.chat_completions import ChatCompletions
    from llmroute.types import HTTPRequest, Upload

_STATES: dict[str, JobState] = {
    "QUEUED": "queued",
    "SUCCESS": "done",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLED": "cancelled",
}
_PAGE = 100


class MistralBatches(FileJobs):
    """The batch API at one endpoint."""

    limits = JobLimits(100_000, 512_000_000)

    def __init__(self, provider: ChatCompletions) -> None:
        super().__init__(provider, "/batch/jobs", _status)

    def render_files(self, name: str) -> HTTPRequest:
        """Render the search for a file."""
        return self.get(f"/files?page=0&page_size={_PAGE}&purpose=batch&search={quote(name, safe='')}")

    def render_create(self, job: str, model: str, file_id: str, upload: Upload) -> HTTPRequest:  # noqa: ARG002
        """Render the creation of a job."""
        body = {
            "input_files": [file_id],
            "endpoint": "/v1/chat/completions",
            "model": model,
            "metadata": {LABEL: job},
            "timeout_hours": 24,
        }
        return self.post(self._jobs_url, body)

    def render_list(self) -> HTTPRequest:
        """Render the first page of the list of jobs, newest first."""
        return self._list_page(0)

    def parse_list(self, body: bytes, sent: HTTPRequest) -> JobPage:
        """Parse a page of the list of jobs."""
        page = super().parse_list(body, sent)
        if len(page.jobs) < _PAGE:
            return page
        (number,) = parse_qs(urlsplit(sent.url).query)["page"]
        return page._replace(next_request=self._list_page(int(number) + 1))

    def _list_page(self, number: int) -> HTTPRequest:
        return self.get(f"{self._jobs_url}?page={number}&page_size={_PAGE}&order_by=-created")


def _status(job: dict[str, Any]) -> JobStatus:
    word = lenient_json.text(job.get("status"))
    known = word != "QUEUED"
    files = [name for name in lenient_json.items(job.get("input_files")) if isinstance(name, str)]
    return JobStatus(
        vendor_id=lenient_json.text(job.get("id")),
        state=_STATES.get(word, "running"),
        word=word,
        created_s=unix_s(job.get("created_at")),
        total=lenient_json.count(job.get("total_requests")) if known else None,
        succeeded=lenient_json.count(job.get("succeeded_requests")) if known else None,
        failed=lenient_json.count(job.get("failed_requests")) if known else None,
        input_file=files[0] if files else None,
        output_file=optional(job.get("output_file")),
        error_file=optional(job.get("error_file")),
        label=optional(lenient_json.mapping(job.get("metadata")).get(LABEL)),
        faults=faults_in(job.get("errors")),
    )


def connect(provider: ChatCompletions) -> MistralBatches:
    """Return the batch API of Mistral at the endpoint of `provider`."""
    return MistralBatches(provider)

"""OpenAI's batch API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmroute.providers.batch_jobs.file_jobs import FileJobs, faults_in, joined
from llmroute.providers.batch_jobs.job import (
    LABEL,
    WINDOW,
    FilePage,
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
    "validating": "queued",
    "completed": "done",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
_ENDPOINT = "/v1/chat/completions"


class OpenAIBatches(FileJobs):
    """The batch API at one endpoint."""

    limits = JobLimits(50_000, 200_000_000)

    def __init__(self, provider: ChatCompletions) -> None:
        super().__init__(provider, "/batches", _status)

    def line(self, custom_id: str, body: bytes) -> bytes:
        """Return the line of a request body."""
        return joined({"custom_id": custom_id, "method": "POST", "url": _ENDPOINT}, body)

    def render_files(self, name: str) -> HTTPRequest:  # noqa: ARG002 (the list has no search)
        """Render the list of the files for batches, newest first."""
        return self.get("/files?purpose=batch&limit=1000&order=desc")

    def parse_files(self, body: bytes) -> FilePage:
        """Parse a page of the list of files."""
        page, last = super().parse_files(body), self._last_id(body)
        return page._replace(next_request=last and self.get(f"/files?purpose=batch&limit=1000&order=desc&after={last}"))

    def render_create(self, job: str, model: str, file_id: str, upload: Upload) -> HTTPRequest:  # noqa: ARG002
        """Render the creation of a job."""
        body = {
            "input_file_id": file_id,
            "endpoint": _ENDPOINT,
            "completion_window": WINDOW,
            "metadata": {LABEL: job},
        }
        return self.post(self._jobs_url, body)

    def render_list(self) -> HTTPRequest:
        """Render the list of jobs, newest first."""
        return self.get(f"{self._jobs_url}?limit=100")

    def parse_list(self, body: bytes, sent: HTTPRequest) -> JobPage:
        """Parse a page of the list of jobs."""
        page, last = super().parse_list(body, sent), self._last_id(body)
        return page._replace(next_request=last and self.get(f"{self._jobs_url}?limit=100&after={last}"))

    def _last_id(self, body: bytes) -> Any:
        """Return the id after which the next page begins, None after the last page."""
        payload = lenient_json.mapping(self._json(body, "the list"))
        rows = lenient_json.objects(payload.get("data"))
        last = lenient_json.text(payload.get("last_id")) or lenient_json.text(rows[-1].get("id") if rows else None)
        return quote(last, safe="") if payload.get("has_more") is True and last else None


def _status(job: dict[str, Any]) -> JobStatus:
    word = lenient_json.text(job.get("status"))
    counts = {} if word == "validating" else lenient_json.mapping(job.get("request_counts"))
    return JobStatus(
        vendor_id=lenient_json.text(job.get("id")),
        state=_STATES.get(word, "running"),
        word=word,
        created_s=unix_s(job.get("created_at")),
        expires_s=unix_s(job.get("expires_at")),
        total=lenient_json.count(counts.get("total")),
        succeeded=lenient_json.count(counts.get("completed")),
        failed=lenient_json.count(counts.get("failed")),
        input_file=optional(job.get("input_file_id")),
        output_file=optional(job.get("output_file_id")),
        error_file=optional(job.get("error_file_id")),
        label=optional(lenient_json.mapping(job.get("metadata")).get(LABEL)),
        faults=faults_in(lenient_json.mapping(job.get("errors")).get("data")),
    )


def connect(provider: ChatCompletions) -> OpenAIBatches:
    """Return the batch API of OpenAI at the endpoint of `provider`."""
    return OpenAIBatches(provider)

"""Together's batch API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers.batch_jobs.file_jobs import FileJobs
from llmroute.providers.batch_jobs.job import WINDOW, JobFault, JobLimits, JobState, JobStatus, optional, unix_s
from llmroute.providers.wire import lenient_json

if TYPE_CHECKING:
    from llmroute.providers.wire.chat_completions import ChatCompletions
    from llmroute.types import HTTPRequest, Upload

_STATES: dict[str, JobState] = {
    "VALIDATING": "queued",
    "COMPLETED": "done",
    "FAILED": "failed",
    "EXPIRED": "expired",
    "CANCELLED": "cancelled",
}


class TogetherBatches(FileJobs):
    """The batch API at one endpoint."""

    limits = JobLimits(50_000, 100_000_000, queued_tokens=30_000_000_000)

    def __init__(self, provider: ChatCompletions) -> None:
        super().__init__(provider, "/batches", _status)

    def render_upload(self, name: str, upload: Upload) -> HTTPRequest:
        """Render the upload of the input, in one call without a redirect to another host."""
        fields = {"purpose": "batch-api", "file_name": f"{name}.jsonl", "file_type": "jsonl"}
        return self.upload("/files/upload", fields, name, upload)

    def render_files(self, name: str) -> HTTPRequest:  # noqa: ARG002 (the list has no search)
        """Render the list of files."""
        return self.get("/files")

    def render_create(self, job: str, model: str, file_id: str, upload: Upload) -> HTTPRequest:  # noqa: ARG002
        """Render the creation of a job."""
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": WINDOW}
        return self.post(self._jobs_url, body)


def _status(job: dict[str, Any]) -> JobStatus:
    word = lenient_json.text(job.get("status"))
    message = lenient_json.text(job.get("error"))
    return JobStatus(
        vendor_id=lenient_json.text(job.get("id")),
        state=_STATES.get(word, "running"),
        word=word,
        created_s=unix_s(job.get("created_at")),
        expires_s=unix_s(job.get("job_deadline")),
        input_file=optional(job.get("input_file_id")),
        output_file=optional(job.get("output_file_id")),
        error_file=optional(job.get("error_file_id")),
        faults=(JobFault("", message),) if message else (),
    )


def connect(provider: ChatCompletions) -> TogetherBatches:
    """Return the batch API of Together at the endpoint of `provider`."""
    return TogetherBatches(provider)

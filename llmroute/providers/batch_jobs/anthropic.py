"""Anthropic's Message Batches API: lines are part of the request that creates a job, and there are no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmroute.errors import AttemptError
from llmroute.providers.batch_jobs.job import (
    FilePage,
    JobLimits,
    JobPage,
    JobState,
    JobStatus,
    LineResult,
    StoredFile,
    record,
    unix_s,
)
from llmroute.providers.errors.parser import is_error
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import to_wire
from llmroute.types import HTTPRequest
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from llmroute.providers.anthropic import Anthropic
    from llmroute.types import Upload

# The HTTP statuses of these error types in responses; a result line has no status.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
_UNKNOWN = 500
_UNRUN = frozenset(("canceled", "expired"))


class AnthropicBatches:
    """The batch API at one endpoint."""

    # The queue of the lowest usage tier.
    limits = JobLimits(100_000, 256_000_000, queued_lines=100_000)
    labels = False

    def __init__(self, provider: Anthropic) -> None:
        self._provider = provider
        self._url = provider.base_url + "/messages/batches"

    def line(self, custom_id: str, body: bytes) -> bytes:
        """Return the item of a request body."""
        return f'{{"custom_id":"{custom_id}","params":'.encode() + body + b"}"

    def render_upload(self, name: str, upload: Upload) -> HTTPRequest | None:  # noqa: ARG002
        """Return None: there is no upload."""
        return None

    def render_files(self, name: str) -> HTTPRequest:
        """Raise: this API has no files."""
        raise self._provider.faults.unreadable(f"Anthropic has no file {name}")

    def parse_file(self, body: bytes) -> StoredFile:
        """Raise: this API has no files."""
        raise self._provider.faults.unreadable(f"no file was uploaded ({len(body)} bytes)")

    def parse_files(self, body: bytes) -> FilePage:
        """Raise: this API has no files."""
        raise self._provider.faults.unreadable(f"no files were listed ({len(body)} bytes)")

    def render_create(self, job: str, model: str, file_id: str, upload: Upload) -> HTTPRequest:  # noqa: ARG002
        """Render the creation of a job with its lines."""
        sent = upload._replace(before=b'{"requests":[', after=b"]}", joined=True)
        return HTTPRequest("POST", self._url, self._provider.headers(), upload=sent)

    def parse_job(self, body: bytes) -> JobStatus:
        """Parse one job."""
        payload = self._json(body, "the batch")
        if not lenient_json.text(payload.get("id")):
            raise self._not(payload, "the batch")
        return _status(payload)

    def render_status(self, vendor_id: str) -> HTTPRequest:
        """Render the query of the status of a job."""
        return HTTPRequest("GET", self._job_url(vendor_id), self._provider.headers())

    def render_list(self) -> HTTPRequest:
        """Render the list of jobs, newest first."""
        return HTTPRequest("GET", f"{self._url}?limit=1000", self._provider.headers())

    def parse_list(self, body: bytes, sent: HTTPRequest) -> JobPage:  # noqa: ARG002
        """Parse a page of the list of jobs."""
        payload = self._json(body, "the list of batches")
        if not isinstance(payload.get("data"), list):
            raise self._not(payload, "the list of batches")
        rows = [row for row in lenient_json.objects(payload["data"]) if lenient_json.text(row.get("id"))]
        jobs = tuple(map(_status, rows))
        last = lenient_json.text(payload.get("last_id")) or (jobs[-1].vendor_id if jobs else "")
        if payload.get("has_more") is not True or not last:
            return JobPage(jobs)
        url = f"{self._url}?limit=1000&after_id={quote(last, safe='')}"
        return JobPage(jobs, HTTPRequest("GET", url, self._provider.headers()))

    def render_cancel(self, vendor_id: str) -> HTTPRequest:
        """Render the cancellation of a job."""
        return HTTPRequest("POST", f"{self._job_url(vendor_id)}/cancel", self._provider.headers())

    def render_results(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the download of the results; the URL in the job, which may name another host, is not used."""
        url = f"{self._job_url(status.vendor_id)}/results"
        return (HTTPRequest("GET", url, self._provider.headers(), is_download=True),)

    def parse_result(self, line: bytes) -> LineResult:
        """Parse one line of results."""
        custom_id, fields = record(line)
        result = lenient_json.mapping(fields.get("result"))
        kind = result.get("type")
        if kind == "succeeded":
            try:
                completion = self._provider.parse_completion(to_wire(lenient_json.mapping(result.get("message"))))
            except AttemptError as error:
                # An answer that cannot be read is billed all the same.
                error.http_status = HTTP_OK
                return LineResult(custom_id, error=error)
            return LineResult(custom_id, completion)
        if kind == "errored":
            failure = lenient_json.mapping(result.get("error"))
            status = _STATUSES.get(lenient_json.text(lenient_json.mapping(failure.get("error")).get("type")), _UNKNOWN)
            return LineResult(custom_id, error=self._provider.parse_error(status, {}, to_wire(failure)))
        if kind in _UNRUN:
            return LineResult(custom_id, unrun=True)
        raise ValueError("a line of results of an unknown kind")

    def render_deletions(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the deletion of the job, which deletes its results."""
        return (HTTPRequest("DELETE", self._job_url(status.vendor_id), self._provider.headers()),)

    def render_file_deletion(self, file_id: str) -> HTTPRequest:
        """Raise: this API has no files."""
        raise self._provider.faults.unreadable(f"Anthropic has no file {file_id}")

    def _job_url(self, vendor_id: str) -> str:
        return f"{self._url}/{quote(vendor_id, safe='')}"

    def _json(self, body: bytes, what: str) -> dict[str, Any]:
        try:
            return lenient_json.mapping(lenient_json.read(body))
        except ValueError:
            raise self._provider.faults.unreadable(f"{what} is not JSON") from None

    def _not(self, payload: dict[str, Any], what: str) -> AttemptError:
        if is_error(payload):
            return self._provider.faults.in_band(payload)
        return self._provider.faults.unreadable(f"the response is not {what}")


def _status(job: dict[str, Any]) -> JobStatus:
    word = lenient_json.text(job.get("processing_status"))
    counts = {
        name: lenient_json.count(count) or 0 for name, count in lenient_json.mapping(job.get("request_counts")).items()
    }
    ended = word == "ended"
    state: JobState = "running"
    if ended and job.get("cancel_initiated_at"):
        state = "cancelled"
    elif ended:
        state = "expired" if counts.get("expired") else "done"
    unanswered = sum(counts.get(name, 0) for name in ("errored", "expired", "canceled"))
    return JobStatus(
        vendor_id=lenient_json.text(job.get("id")),
        state=state,
        word=word,
        created_s=unix_s(job.get("created_at")),
        expires_s=unix_s(job.get("expires_at")),
        total=sum(counts.values()) if counts else None,
        succeeded=counts.get("succeeded") if ended else None,
        failed=unanswered if ended and counts else None,
    )


def connect(provider: Anthropic) -> AnthropicBatches:
    """Return the batch API of Anthropic at the endpoint of `provider`."""
    return AnthropicBatches(provider)

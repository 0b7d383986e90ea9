"""The common part of the batch APIs of OpenAI, Mistral and Together: input files, and results as chat completions."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmroute.errors import AttemptError
from llmroute.providers.batch_jobs.job import FilePage, JobFault, JobPage, JobStatus, LineResult, StoredFile, record
from llmroute.providers.errors.parser import is_error
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import to_wire
from llmroute.types import HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmroute.providers.wire.chat_completions import ChatCompletions
    from llmroute.types import Upload

UNRUN_CODES = frozenset(("batch_expired", "batch_cancelled", "request_timeout"))
"""Codes of lines that were not run."""
_ERROR_STATUS = 400


class FileJobs:
    """The part of a batch API that the three providers share, over `provider`; `parse_status` reads one job."""

    labels = True

    def __init__(
        self, provider: ChatCompletions, jobs_path: str, parse_status: Callable[[dict[str, Any]], JobStatus]
    ) -> None:
        self._provider = provider
        self._base = provider.base_url
        self._jobs_url = provider.base_url + jobs_path
        self._parse_status = parse_status

    def get(self, url: str) -> HTTPRequest:
        """Render a GET request; a path is one below the base URL."""
        return HTTPRequest("GET", url if "://" in url else self._base + url, self._provider.headers())

    def post(self, url: str, body: Mapping[str, Any]) -> HTTPRequest:
        """Render a POST request with a JSON body."""
        return HTTPRequest("POST", url, self._provider.headers(), to_wire(dict(body)))

    def line(self, custom_id: str, body: bytes) -> bytes:
        """Return the line of a request body."""
        return joined({"custom_id": custom_id}, body)

    def render_upload(self, name: str, upload: Upload) -> HTTPRequest:
        """Render the upload of the input."""
        return self.upload("/files", {"purpose": "batch"}, name, upload)

    def upload(self, path: str, fields: Mapping[str, str], name: str, upload: Upload) -> HTTPRequest:
        """Render a multipart upload of a file of lines with other form fields."""
        boundary = f"llmroute-{name}"
        form = "".join(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in fields.items()
        )
        form += f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}.jsonl"\r\n'
        form += "content-type: application/jsonl\r\n\r\n"
        headers = {**self._provider.headers(), "content-type": f"multipart/form-data; boundary={boundary}"}
        sent = upload._replace(before=form.encode(), after=f"\r\n--{boundary}--\r\n".encode())
        return HTTPRequest("POST", self._base + path, headers, upload=sent)

    def parse_file(self, body: bytes) -> StoredFile:
        """Parse the response to an upload."""
        payload = self._object(body, "the uploaded file")
        return _stored(payload)

    def parse_files(self, body: bytes) -> FilePage:
        """Parse the list of files."""
        payload = self._rows(body, "the list of files")
        return FilePage(tuple(_stored(row) for row in payload if lenient_json.text(row.get("id"))))

    def parse_job(self, body: bytes) -> JobStatus:
        """Parse one job."""
        return self._parse_status(self._object(body, "the batch"))

    def parse_list(self, body: bytes, sent: HTTPRequest) -> JobPage:  # noqa: ARG002
        """Parse a list of jobs in one page."""
        rows = self._rows(body, "the list of batches")
        return JobPage(tuple(self._parse_status(row) for row in rows if lenient_json.text(row.get("id"))))

    def render_status(self, vendor_id: str) -> HTTPRequest:
        """Render the query of the status of a job."""
        return self.get(f"{self._jobs_url}/{_quoted(vendor_id)}")

    def render_list(self) -> HTTPRequest:
        """Render the request for the list of jobs."""
        return self.get(self._jobs_url)

    def render_cancel(self, vendor_id: str) -> HTTPRequest:
        """Render the cancellation of a job."""
        return HTTPRequest("POST", f"{self._jobs_url}/{_quoted(vendor_id)}/cancel", self._provider.headers())

    def render_results(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the downloads of the output and of the file of errors."""
        files = [name for name in (status.output_file, status.error_file) if name]
        return tuple(self.get(f"/files/{_quoted(name)}/content")._replace(is_download=True) for name in files)

    def render_deletions(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the deletions of the files of a job."""
        files = (status.input_file, status.output_file, status.error_file)
        return tuple(self.render_file_deletion(name) for name in files if name)

    def render_file_deletion(self, file_id: str) -> HTTPRequest:
        """Render the deletion of a file."""
        return HTTPRequest("DELETE", f"{self._base}/files/{_quoted(file_id)}", self._provider.headers())

    def parse_result(self, line: bytes) -> LineResult:
        """Parse one line of an output, or of a file of errors."""
        custom_id, fields = record(line)
        response, outer = lenient_json.mapping(fields.get("response")), fields.get("error")
        status, body = _http_status(response.get("status_code")), lenient_json.mapping(response.get("body"))
        is_answered = status is not None and status < _ERROR_STATUS
        # An answer is billed, also one beside an error.
        if outer and not (is_answered and body):
            code = lenient_json.text(lenient_json.mapping(outer).get("code"))
            return LineResult(custom_id, error=self._provider.faults.in_band(outer), unrun=code in UNRUN_CODES)
        if not is_answered:
            return LineResult(custom_id, error=self._provider.parse_error(status or 0, {}, to_wire(body)))
        try:
            return LineResult(custom_id, self._provider.parse_completion(to_wire(body)))
        except AttemptError as error:
            # So is one that cannot be read.
            error.http_status = status
            return LineResult(custom_id, error=error)

    def _object(self, body: bytes, what: str) -> dict[str, Any]:
        payload = self._json(body, what)
        if isinstance(payload, dict) and isinstance(payload.get("job"), dict):
            payload = payload["job"]
        if isinstance(payload, dict) and lenient_json.text(payload.get("id")):
            return payload
        raise self._not(payload, what)

    def _rows(self, body: bytes, what: str) -> list[dict[str, Any]]:
        payload = self._json(body, what)
        rows = payload.get("data") if isinstance(payload, dict) else payload
        if not isinstance(rows, list):
            raise self._not(payload, what)
        return lenient_json.objects(rows)

    def _json(self, body: bytes, what: str) -> Any:
        try:
            return lenient_json.read(body)
        except ValueError:
            raise self._provider.faults.unreadable(f"{what} is not JSON") from None

    def _not(self, payload: object, what: str) -> AttemptError:
        if isinstance(payload, dict) and is_error(payload):
            return self._provider.faults.in_band(payload)
        return self._provider.faults.unreadable(f"the response is not {what}")


def joined(line: Mapping[str, Any], body: bytes) -> bytes:
    """Return a JSON object with one more field `body`, which is JSON already."""
    head = json.dumps(line, separators=(",", ":"))[:-1]
    return f'{head},"body":'.encode() + body + b"}"


def faults_in(errors: object) -> tuple[JobFault, ...]:
    """Return the faults of a job in a list of errors."""
    return tuple(
        JobFault(lenient_json.text(error.get("code")), lenient_json.text(error.get("message")))
        for error in lenient_json.objects(errors)
    )


def _stored(row: dict[str, Any]) -> StoredFile:
    return StoredFile(
        lenient_json.text(row.get("id")), lenient_json.text(row.get("filename")), lenient_json.count(row.get("bytes"))
    )


def _http_status(value: object) -> int | None:
    """Return a status, also one whose digits are text; gateways write both."""
    digits = lenient_json.text(value)
    return int(digits) if re.fullmatch(r"[0-9]{3}", digits) else lenient_json.count(value)


def _quoted(name: str) -> str:
    return quote(name, safe="")

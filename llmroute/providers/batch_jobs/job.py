"""The batch API of a provider: the common types and the protocol."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from llmroute.providers.wire import lenient_json

if TYPE_CHECKING:
    from llmroute.errors import AttemptError
    from llmroute.providers import Provider
    from llmroute.types import Completion, HTTPRequest, Upload

JobState = Literal["queued", "running", "done", "expired", "cancelled", "failed"]
ENDED: frozenset[JobState] = frozenset(("done", "expired", "cancelled", "failed"))
LABEL = "llmroute_job"
"""The key of our job id in the metadata of a provider's job."""
WINDOW = "24h"
_MOST_UNIX_S = 253_402_300_799


class JobLimits(NamedTuple):
    """The most lines and bytes of one job, and what may wait at once; None is "not published".

    `queued_lines` are those of all jobs, `queued_tokens` those of the prompts of one model.
    """

    lines: int
    input_bytes: int
    queued_lines: int | None = None
    queued_tokens: int | None = None


class JobFault(NamedTuple):
    """Why a job failed as a whole."""

    code: str
    message: str


class JobStatus(NamedTuple):
    """A job as the provider describes it; times are UNIX seconds, and None is "not reported"."""

    vendor_id: str
    state: JobState
    word: str
    created_s: float | None = None
    expires_s: float | None = None
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    label: str | None = None
    faults: tuple[JobFault, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the job has ended, so that it runs no further lines."""
        return self.state in ENDED


class JobPage(NamedTuple):
    """A page of the list of jobs, newest first, and the request for the next one."""

    jobs: tuple[JobStatus, ...]
    next_request: HTTPRequest | None = None


class StoredFile(NamedTuple):
    """A file at the provider."""

    id: str
    name: str
    size: int | None = None


class FilePage(NamedTuple):
    """A page of the list of files, and the request for the next one."""

    files: tuple[StoredFile, ...]
    next_request: HTTPRequest | None = None


class LineResult(NamedTuple):
    """The result of one line: a completion, an error, or neither if the provider did not run it.

    `unrun` means that the provider did not run the line and does not bill it.
    """

    custom_id: str
    completion: Completion | None = None
    error: AttemptError | None = None
    unrun: bool = False


class BatchAPI(Protocol):
    """The batch API of one provider at one endpoint."""

    @property
    def limits(self) -> JobLimits:
        """The limits of one job."""

    @property
    def labels(self) -> bool:
        """Whether a listed job is the job with our id, by its metadata or its input file."""

    def line(self, custom_id: str, body: bytes) -> bytes:
        """Return the line of the input for a request body, without its line feed."""

    def render_upload(self, name: str, upload: Upload) -> HTTPRequest | None:
        """Render the upload of a file of lines; None where the lines are part of `render_create`."""

    def render_files(self, name: str) -> HTTPRequest:
        """Render the request for the list of files that may contain a named one."""

    def parse_file(self, body: bytes) -> StoredFile:
        """Parse the response to an upload.

        Raises:
            AttemptError: it is not one.
        """

    def parse_files(self, body: bytes) -> FilePage:
        """Parse a page of the list of files.

        Raises:
            AttemptError: it is not one.
        """

    def render_create(self, job: str, model: str, file_id: str, upload: Upload) -> HTTPRequest:
        """Render the creation of a job for `model`, the provider's name for it."""

    def parse_job(self, body: bytes) -> JobStatus:
        """Parse a job: the response to its creation, to a query of its status, or to its cancellation.

        Raises:
            AttemptError: it is not one.
        """

    def render_status(self, vendor_id: str) -> HTTPRequest:
        """Render the query of the status of a job."""

    def render_list(self) -> HTTPRequest:
        """Render the request for the list of jobs."""

    def parse_list(self, body: bytes, sent: HTTPRequest) -> JobPage:
        """Parse a page of the list of jobs, the response to `sent`.

        Raises:
            AttemptError: it is not one.
        """

    def render_cancel(self, vendor_id: str) -> HTTPRequest:
        """Render the cancellation of a job."""

    def render_results(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the downloads of the results of a job that has ended; none where it has none."""

    def parse_result(self, line: bytes) -> LineResult:
        """Parse one line of results.

        Raises:
            ValueError: it is not one.
        """

    def render_deletions(self, status: JobStatus) -> tuple[HTTPRequest, ...]:
        """Render the deletions of the files of an ended job."""

    def render_file_deletion(self, file_id: str) -> HTTPRequest:
        """Render the deletion of an uploaded file."""


def connect(name: str, provider: Provider) -> BatchAPI:
    """Return the batch API of a provider whose `ProviderSpec` has one, importing only its module."""
    api: BatchAPI = import_module(f"{__package__}.{name}").connect(provider)
    return api


def unix_s(value: object) -> float | None:
    """Return a time from 1970 to 9999 as UNIX seconds, from a number or RFC 3339; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _MOST_UNIX_S else None


def optional(value: object) -> str | None:
    """Return text that is not empty, else None."""
    return lenient_json.text(value) or None


def record(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the custom id and the object of a line of results.

    Raises:
        ValueError: it is not an object with a custom id.
    """
    fields = lenient_json.mapping(lenient_json.read(line))
    custom_id = lenient_json.text(fields.get("custom_id"))
    if not custom_id:
        raise ValueError("a line of results without a custom id")
    return custom_id, fields

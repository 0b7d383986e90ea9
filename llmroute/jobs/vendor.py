"""The batch API of one provider, with its I/O."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import IO, TYPE_CHECKING

from llmroute.errors import AttemptError, BadOutputError, ProviderTimeoutError
from llmroute.execution.answer_check import hide_secrets
from llmroute.providers.batch_jobs.job import connect
from llmroute.providers.errors.retry_after import parse_http_date, parse_retry_after
from llmroute.text.redaction import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from llmroute.planning.endpoints import Endpoints
    from llmroute.providers.batch_jobs.job import JobFault, JobStatus, StoredFile
    from llmroute.transport.async_client import AsyncExchange, AsyncSender
    from llmroute.transport.network.send_progress import Progress
    from llmroute.types import HTTPRequest

CONNECT_S = 30.0
ANSWER_S = 600.0
"""How long a response may take to begin, an upload included, and how long to end unless it has results."""
STALL_S = 60.0
MOST_PAGES = 100
MOST_AHEAD_S = 86_400.0
"""A clock that is further ahead or behind is that of no provider."""
MOST_CODE = 100
MOST_REASON = 500
"""The longest code and reason of a failed job, in characters."""
NOT_FOUND = 404
TOO_MANY = 429


class Vendor:
    """One provider.

    `poll_after_s` is the interval that its last response requested, None without one; `ahead_s` says by how much its
    clock is ahead of the ledger's.
    """

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        sender: Callable[[], AsyncSender],
        trace: Callable[[str], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.name = name
        self._provider = endpoints.connect(name)
        self.api = connect(name, self._provider)
        self._redaction = endpoints.redaction
        self._sender = sender
        self._trace = trace
        self._now_ms = now_ms
        self.poll_after_s: float | None = None
        self.ahead_s = 0.0
        self._paused_until_s = 0.0

    async def call(self, request: HTTPRequest, progress: Progress | None = None) -> bytes:
        """Send a request and return the body of its response; `progress` records whether it was sent.

        Raises:
            AttemptError: it failed.
        """
        exchange = await self._open(request, progress)
        try:
            return await self._body(exchange)
        finally:
            await exchange.close()

    async def download(self, request: HTTPRequest, file: IO[bytes], within_s: float) -> None:
        """Download into a file, which is then at its beginning, in at most `within_s` seconds.

        Raises:
            AttemptError: it failed, was cut off, or did not end.
            OSError: the file cannot be written.
        """
        exchange = await self._open(request)
        try:
            async with self._ending(within_s):
                while piece := await exchange.read(STALL_S):
                    file.write(piece)
        finally:
            await exchange.close()
        file.seek(0)

    async def _open(self, request: HTTPRequest, progress: Progress | None = None) -> AsyncExchange:
        """Send a request and return the exchange with its response, whose status is one of success."""
        exchange = await self._sender().open(request, connect_s=CONNECT_S, answer_s=ANSWER_S, progress=progress)
        self._trace(f"{self.name}: {request.method} {shown(request.url)}: status {exchange.status}")
        if (sent_s := parse_http_date(exchange.headers.get("date"))) is not None:
            ahead_s = sent_s - self._now_ms() / 1000
            self.ahead_s = ahead_s if abs(ahead_s) <= MOST_AHEAD_S else 0.0
        if 200 <= exchange.status < 300:  # noqa: PLR2004 (statuses of HTTP)
            self.poll_after_s = parse_retry_after(TOO_MANY, exchange.headers)
            return exchange
        try:
            error = self._provider.parse_error(exchange.status, exchange.headers, await self._body(exchange))
        finally:
            await exchange.close()
        hide_secrets(error, self._redaction)
        error.provider = self.name
        if error.retry_after_s is not None:
            self._paused_until_s = asyncio.get_running_loop().time() + error.retry_after_s
        raise error

    @property
    def is_paused(self) -> bool:
        """Whether the provider has requested a pause."""
        return asyncio.get_running_loop().time() < self._paused_until_s

    async def _body(self, exchange: AsyncExchange) -> bytes:
        pieces = []
        async with self._ending(ANSWER_S):
            while piece := await exchange.read(STALL_S):
                pieces.append(piece)
        return b"".join(pieces)

    @asynccontextmanager
    async def _ending(self, within_s: float) -> AsyncIterator[None]:
        """Limit the time in which a response is read, which may never end although bytes arrive."""
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError as error:
            message = f"the response did not end within {within_s:g} s"
            raise ProviderTimeoutError(message, provider=self.name) from error

    async def status(self, vendor_id: str) -> JobStatus:
        """Return the status of a job.

        Raises:
            AttemptError: it cannot be queried.
        """
        status = await self.job(self.api.render_status(vendor_id))
        if status.vendor_id != vendor_id:
            raise BadOutputError("the response is about another batch", provider=self.name)
        return status

    async def job(self, request: HTTPRequest, progress: Progress | None = None) -> JobStatus:
        """Return the job that the response to a request describes; `progress` as for `call`.

        Raises:
            AttemptError: it failed, or the response describes none.
        """
        body = await self.call(request, progress)
        with self._hiding():
            return self._harmless(self.api.parse_job(body))

    def _harmless(self, status: JobStatus) -> JobStatus:
        """Return a status whose faults are short lines without secrets."""

        def line(fault: JobFault) -> JobFault:
            hidden = self._redaction.line
            return fault._replace(code=hidden(fault.code, MOST_CODE), message=hidden(fault.message, MOST_REASON))

        return status._replace(faults=tuple(map(line, status.faults)))

    @contextmanager
    def _hiding(self) -> Iterator[None]:
        """Hide secrets in the error that a response is."""
        try:
            yield
        except AttemptError as error:
            hide_secrets(error, self._redaction)
            raise

    async def jobs(self, since_s: float | None = None) -> AsyncIterator[JobStatus]:
        """Yield the jobs of the account; the pages after one with a job from before `since_s` are left out.

        Raises:
            AttemptError: they cannot be listed.
        """
        request: HTTPRequest | None = self.api.render_list()
        for _ in range(MOST_PAGES):
            if request is None:
                return
            body = await self.call(request)
            with self._hiding():
                page = self.api.parse_list(body, request)
            for job in page.jobs:
                yield self._harmless(job)
            if since_s is not None and any((job.created_s or since_s) < since_s for job in page.jobs):
                return
            request = page.next_request

    async def upload(self, request: HTTPRequest, progress: Progress | None = None) -> StoredFile:
        """Return the file that an upload has made; `progress` as for `call`.

        Raises:
            AttemptError: it failed.
        """
        body = await self.call(request, progress)
        with self._hiding():
            return self.api.parse_file(body)

    async def files(self, job: str) -> list[StoredFile]:
        """Return the files that were uploaded for a job.

        Raises:
            AttemptError: they cannot be listed.
        """
        name = f"{job}.jsonl"
        found: list[StoredFile] = []
        request: HTTPRequest | None = self.api.render_files(name)
        for _ in range(MOST_PAGES):
            if request is None:
                break
            body = await self.call(request)
            with self._hiding():
                page = self.api.parse_files(body)
            found += [file for file in page.files if file.name == name]
            request = page.next_request
        return found


def is_certain(error: AttemptError) -> bool:
    """Whether a failed request certainly had no effect: nothing was sent, or the provider rejected it."""
    if not error.sent:
        return True
    status = error.http_status
    # 408 and 409 may come after the work was done.
    rejected = status is not None and 400 <= status < 500 and status not in (408, 409)  # noqa: PLR2004 (statuses)
    return rejected and not isinstance(error, BadOutputError)

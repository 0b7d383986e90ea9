"""The blocking sender."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from llmroute.errors import BadRequestError
from llmroute.transport.caller_client import CallerClient
from llmroute.transport.client_pool import OwnClients, new_client
from llmroute.transport.deadline import Background
from llmroute.transport.decoding import BodyLimits, WatchedStream, has_surplus_bytes
from llmroute.transport.errors import CLOSED_MEANWHILE, response_of, translating
from llmroute.transport.exchange import BlockingExchange
from llmroute.transport.log_text import sending
from llmroute.transport.network.loopback import CONNECTED, connected_elsewhere, resolved_elsewhere
from llmroute.transport.network.send_progress import Progress
from llmroute.transport.requests import built, lower_case, without_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.transport.client_pool import PooledClient
    from llmroute.types import HTTPRequest


class Sender:
    """Sends requests from the calling thread; safe to share between threads.

    A `client` of the caller's is used unchanged and never closed; without one, clients are created as needed.
    """

    def __init__(self, client: httpx.Client | None = None) -> None:
        """Create a sender without opening a connection.

        Raises:
            RequestError: `client` is of another type.
        """
        self._clients: OwnClients[httpx.Client] | CallerClient[httpx.Client]
        self.is_closed = False
        self._clients = OwnClients(new_client) if client is None else CallerClient(client, httpx.Client)

    def open(
        self, request: HTTPRequest, *, connect_s: float, answer_s: float, progress: Progress | None = None
    ) -> Exchange:
        """Send a request and return after the head of the response; `progress` is updated on the way.

        Raises:
            ProviderTimeoutError: no connection within `connect_s`, or no head within `answer_s` more.
            UnreachableError: DNS, refused, reset, TLS.
            BadRequestError: the request cannot be sent.
        """
        if self.is_closed:
            raise BadRequestError(CLOSED_MEANWHILE)
        progress = progress or Progress()
        with translating(request, connect_s, connect_s + answer_s, progress):
            for client in self._clients.idle():
                client.close()
            return Exchange(self._clients.enter(request.url), request, connect_s, answer_s, progress)

    def close(self) -> None:
        """Close the connections of our own clients; no request can be sent after that.

        Connections on which threads wait are shut down, which wakes these threads, and closed by them: the descriptor
        of one that is closed here might be another connection's by the time that its thread waits.
        """
        self.is_closed = True
        for lane in self._clients.close():
            in_use = lane.retire()
            if in_use is None:
                lane.client.close()
            for connection in in_use or ():
                _shut_down(connection)


def sent(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request and return its response after the head, before the body.

    Raises:
        Exception: an error of httpx, or of a transport or hook of the caller's.
        BadRequestError: the client was closed meanwhile.
    """
    try:
        with sending(request):
            return client.send(request, stream=True, auth=None, follow_redirects=False)
    except httpx.HTTPStatusError as fault:
        return response_of(fault, request)
    except RuntimeError as error:
        if not client.is_closed:
            raise
        raise BadRequestError(CLOSED_MEANWHILE) from error


class Head(NamedTuple):
    """Status and headers of a response; header names are in lower case."""

    status: int
    headers: dict[str, str]


class Exchange(BlockingExchange):
    """A response that a separate thread receives."""

    def __init__(
        self,
        lane: PooledClient[httpx.Client],
        request: HTTPRequest,
        connect_s: float,
        answer_s: float,
        progress: Progress,
    ) -> None:
        """Send the request and wait for the head.

        Raises:
            Exception: one of `faults()`.
        """
        self._lock = threading.Lock()
        self._ended = False
        self._left = False
        self._response: httpx.Response | None = None
        self._progress = progress
        # The new connection of httpcore.
        self._connecting: Any = None
        self._held: list[bytes] = []
        self._request = request
        self._url = httpx.URL(request.url)
        self._lane = lane
        try:
            self._arriving = Background(self._arrive(lane.client, request, connect_s, answer_s))
        except RuntimeError as error:
            self._leave()
            raise OSError(errno.EAGAIN, f"no thread can be started: {error}") from error
        try:
            head, *body = self._first(connect_s, answer_s)
        except BaseException:
            self.close()
            raise
        assert isinstance(head, Head)
        self._held = [piece for piece in body if isinstance(piece, bytes)]
        self.status, self.headers = head

    def _arrive(
        self, client: httpx.Client, request: HTTPRequest, connect_s: float, answer_s: float
    ) -> Iterator[Head | bytes]:
        """Yield the head, then the chunks of the body; runs in a separate thread."""
        try:
            prepared = built(client, request, connect_s=connect_s, answer_s=answer_s)
            prepared.extensions["trace"] = self._note_connection
            self._progress.enter()
            response = sent(client, prepared)
        except BaseException:
            self._leave()
            raise
        try:
            with self._lock:
                self._response = response
                # A hook of the caller's has read the body: another request may use its connection by now.
                self._ended = response.is_closed
                if self._left:
                    return
            yield Head(response.status_code, lower_case(response.headers))
            if without_body(response):
                return
            bounds = BodyLimits(response, any_size=request.is_download)
            stream = response.stream
            assert isinstance(stream, httpx.SyncByteStream)
            response.stream = WatchedStream(stream, bounds, lambda: self._end(response, stream))
            for piece in response.iter_bytes():
                yield bounds.count(piece)
                if self._left:
                    return
        finally:
            response.close()
            self._leave()

    def _leave(self) -> None:
        """Leave the client, and close it after the last exchange of a sender that was closed meanwhile."""
        if self._lane.leave():
            self._lane.client.close()

    def _first(self, connect_s: float, answer_s: float) -> list[Head | bytes]:
        """Wait for the head; connecting has its own limit, for name resolution and all addresses of a name."""
        try:
            return self._arriving.take(connect_s)
        except TimeoutError:
            if self._progress.connecting:
                raise httpx.ConnectTimeout("") from None
        return self._arriving.take(answer_s)

    def _note_connection(self, event: str, facts: dict[str, Any]) -> None:
        """Keep the connection, so that it can be closed if the server never completes the head."""
        self._progress.note(event, facts)
        if connected_elsewhere(self._url, event, facts):
            facts["return_value"].close()
            raise resolved_elsewhere()
        if event in CONNECTED:
            with self._lock:
                self._connecting = facts["return_value"]
                if self._lane.connected(self._connecting) or self._left:
                    _shut_down(self._connecting)

    def _end(self, response: httpx.Response, stream: httpx.SyncByteStream) -> None:
        """Record that the whole body has arrived; the connection is about to return to the pool."""
        with self._lock:
            self._ended = True
        if has_surplus_bytes(stream):
            response.extensions["network_stream"].close()

    def read(self, within_s: float) -> bytes:
        """Return the next bytes of the body; see `BlockingExchange.read`."""
        if self._held:
            held, self._held = self._held, []
            return b"".join(held)
        with translating(self._request, within_s, within_s):
            return b"".join(piece for piece in self._arriving.take(within_s) if isinstance(piece, bytes))

    def close(self) -> None:
        """Release the connection; see `BlockingExchange.close`."""
        with self._lock:
            self._left = True
            if self._response is None:
                _shut_down(self._connecting)
            elif not self._ended:
                _hang_up(self._response)
            self._ended = True


def _hang_up(response: httpx.Response) -> None:
    """Wake the thread that reads a body; it then closes the connection.

    An HTTP/2 connection carries other requests too and stays open: there the thread ends at the next chunk.
    """
    if response.http_version != "HTTP/2":
        _shut_down(response.extensions.get("network_stream"))


def _shut_down(stream: Any) -> None:
    """Shut down a network stream of httpcore, so that pending reads return."""
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

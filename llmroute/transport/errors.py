"""Translation of errors of httpx, and of transports below it, into errors of an attempt."""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from llmroute.errors import BadOutputError, BadRequestError, ProviderTimeoutError, UnreachableError
from llmroute.transport.log_text import cause, with_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.errors import AttemptError
    from llmroute.transport.network.send_progress import Progress
    from llmroute.types import HTTPRequest

AttemptErrorT = TypeVar("AttemptErrorT", bound="AttemptError")

FAULTS = (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError)
"""Errors that a request through httpx, or through a transport of the caller, may raise. TimeoutError is an OSError."""

CLOSED_MEANWHILE = "the service was closed while a request was in flight"
_LONGEST_REASON = 200
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})


def faults() -> tuple[type[Exception], ...]:
    """Return FAULTS, and the errors of aiohttp that its httpx transport passes through."""
    aiohttp: Any = sys.modules.get("aiohttp")
    return FAULTS if aiohttp is None else (*FAULTS, aiohttp.ClientError)


def response_of(fault: httpx.HTTPStatusError, request: httpx.Request) -> httpx.Response:
    """Return the response of an error that a hook of the caller's raised for the status of a request.

    Raises:
        httpx.HTTPStatusError: the error is of another request, one that the hook sent.
    """
    if fault.request is not request:
        raise fault
    return fault.response


@contextmanager
def translating(
    request: HTTPRequest, connect_s: float, answer_s: float, progress: Progress | None = None
) -> Iterator[None]:
    """Raise one of `faults()` in a block as the error of an attempt, with the limit in seconds that was exceeded.

    `progress` says whether the request may have been sent, None that it was; errors that occur before sending override
    it.  The error names the host, and neither it nor its cause has a secret of the request.

    Raises:
        AttemptError: it.
    """
    try:
        yield
    except faults() as fault:
        sent = progress is None or progress.sent
        error = (
            (None if sent else _exhausted(fault))
            or _translated_aiohttp(fault, connect_s, answer_s)
            or _translated(fault, connect_s, answer_s, sent=sent)
        )
        error.sent = error.sent and sent
        raise with_host(error, request) from cause(fault, request)


def _exhausted(fault: BaseException) -> UnreachableError | None:
    """Return the error of a process that has no descriptor, thread or memory left for a connection; None of others."""
    behind: BaseException | None = fault
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _EXHAUSTED:
            hint = "this process has too many open files or threads: ulimit -n and -u limit them"
            error = _unsent(UnreachableError(f"no connection: {_reason(behind)}", hint=hint))
            error.local = True
            return error
        behind = behind.__cause__ or behind.__context__
    return None


def _translated(fault: Exception, connect_s: float, answer_s: float, *, sent: bool) -> AttemptError:
    match fault:
        case httpx.ConnectTimeout():
            return _not_connected(connect_s)
        case httpx.PoolTimeout():
            return _not_connected(answer_s)
        case httpx.TimeoutException() | TimeoutError():
            return _nothing_came(answer_s) if sent else _not_connected(answer_s)
        case httpx.ConnectError():
            return _unsent(UnreachableError(f"no connection: {_reason(fault)}"))
        case httpx.ProxyError():
            return _unsent(UnreachableError(f"the proxy refused: {_reason(fault)}"))
        case httpx.DecodingError():
            return BadOutputError(f"the answer is not encoded as its headers say: {_reason(fault)}")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL() | ValueError():
            return _unsent(BadRequestError(f"the request cannot be sent: {_reason(fault)}"))
    return _broken_off(fault)


def _translated_aiohttp(fault: Exception, connect_s: float, answer_s: float) -> AttemptError | None:
    """Translate by the error of aiohttp below; its transport for httpx calls most of them a `ConnectTimeout`."""
    aiohttp: Any = sys.modules.get("aiohttp")
    cause = fault.__cause__
    if aiohttp is None or not isinstance(cause, aiohttp.ClientConnectionError):
        return None
    match cause:
        case aiohttp.ConnectionTimeoutError():
            return _not_connected(connect_s)
        case aiohttp.ServerTimeoutError():
            return _nothing_came(answer_s)
        case aiohttp.ClientConnectorError():
            return _unsent(UnreachableError(f"no connection: {_reason(cause)}"))
    return _broken_off(cause)


def _not_connected(within_s: float) -> ProviderTimeoutError:
    return _unsent(ProviderTimeoutError(f"no connection within {within_s:.3g} s"))


def _unsent(error: AttemptErrorT) -> AttemptErrorT:
    error.sent = False
    return error


def _nothing_came(within_s: float) -> ProviderTimeoutError:
    return ProviderTimeoutError(f"no data for {within_s:.3g} s")


def _broken_off(fault: Exception) -> UnreachableError:
    error = UnreachableError(f"the connection broke: {_reason(fault)}")
    error.broken_off = True
    return error


def _reason(fault: BaseException) -> str:
    return (str(fault) or type(fault).__name__).partition("\n")[0][:_LONGEST_REASON]

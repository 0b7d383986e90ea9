"""The text of requests in errors and logs: the host, without the key and without a token in the address."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import httpx

from llmroute.errors import ProviderTimeoutError, UnreachableError
from llmroute.text.redaction import Redaction, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.errors import AttemptError
    from llmroute.types import HTTPRequest

_KEY_HEADERS: Final = ("authorization", "x-api-key")
_MOST: Final = 500
_sending: ContextVar[httpx.Request | None] = ContextVar("llmroute_sending", default=None)


def with_host(error: AttemptError, request: HTTPRequest) -> AttemptError:
    """Return the text of a transport error, with the host and without the secrets of the request."""
    message = _secrets_of(request).line(error.message, _MOST)
    if isinstance(error, ProviderTimeoutError | UnreachableError):
        message = f"{message} ({shown(request.url).partition('://')[2].partition('/')[0]})"
    error.message = message
    error.args = (message,)
    return error


def cause(fault: Exception, request: HTTPRequest) -> Exception | None:
    """Return an error as the cause in a traceback; None where it, or one of its own causes, contains a secret."""
    redaction = _secrets_of(request)
    behind: BaseException | None = fault
    while behind is not None:
        text = str(behind)
        if redaction.hide(text) != text:
            return None
        behind = behind.__cause__ or behind.__context__
    return fault


def _secrets_of(request: HTTPRequest | httpx.Request) -> Redaction:
    values = (request.headers.get(name, "") for name in _KEY_HEADERS)
    return Redaction.of((value.removeprefix("Bearer ") for value in values), (str(request.url),))


@contextmanager
def sending(request: httpx.Request) -> Iterator[None]:
    """Keep the secrets of a request out of the logs of httpx and httpcore, which show addresses and headers in full."""
    token = _sending.set(request)
    try:
        yield
    finally:
        _sending.reset(token)


def _without_secrets(record: logging.LogRecord) -> bool:
    request = _sending.get()
    if request is not None:
        if isinstance(record.args, tuple):
            record.args = tuple(shown(str(each)) if isinstance(each, httpx.URL) else each for each in record.args)
        record.msg, record.args = _secrets_of(request).hide(record.getMessage()), ()
    return True


for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_without_secrets)

"""Conversion of a provider's request into an httpx request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from llmroute.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmroute.types import HTTPRequest, Upload

_PIECE_BYTES = 64 * 1024
_HEADERS = {"accept": "*/*", "accept-encoding": "identity"}
# The connect limit ends this much before the total limit, so that the error of a request without a connection says so:
# less than a request could still use, because the request's own deadline may set both limits.
_EARLIER_S = 0.04
_EARLIER_PART = 0.04
_USER_AGENT = f"llmroute/{__version__}"
_HTTPX_USER_AGENT = f"python-httpx/{httpx.__version__}"


def built(
    client: httpx.Client | httpx.AsyncClient,
    request: HTTPRequest,
    *,
    connect_s: float,
    answer_s: float,
    pool_s: float | None = None,
) -> httpx.Request:
    """Return the httpx request with the headers of the client.

    `connect_s` is the connect timeout of the client's transport: with httpx's own it applies to each address of a name.
    `pool_s` bounds the wait for a pooled connection; on aiohttp it includes connecting.

    Raises:
        httpx.InvalidURL, ValueError: the request cannot be sent.
    """
    in_all_s = connect_s + answer_s
    before_s = in_all_s - min(_EARLIER_S, _EARLIER_PART * in_all_s)
    return client.build_request(
        request.method,
        request.url,
        headers={
            "user-agent": _user_agent(client),
            **_HEADERS,
            **{name: _ascii(value) for name, value in request.headers.items()},
            **({} if request.upload is None else {"content-length": str(request.upload.size)}),
        },
        content=request.body if request.upload is None else _FileContent(request.upload),
        timeout=httpx.Timeout(
            in_all_s,
            connect=min(connect_s, before_s),
            pool=min(in_all_s if pool_s is None else pool_s, before_s),
        ),
    )


class _FileContent:
    """The body of an upload, in chunks; a repeated request reads the file again."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        upload = self._upload
        yield upload.before
        left = upload.file_bytes - (1 if upload.joined else 0)
        with upload.path.open("rb") as file:
            while left > 0 and (piece := file.read(min(_PIECE_BYTES, left))):
                left -= len(piece)
                yield piece.replace(b"\n", b",") if upload.joined else piece
        yield upload.after


def _user_agent(client: httpx.Client | httpx.AsyncClient) -> str:
    """Return the User-Agent: ours, unless the caller's client sets another."""
    named = client.headers.get("user-agent", _HTTPX_USER_AGENT)
    return _USER_AGENT if named == _HTTPX_USER_AGENT else named


def _ascii(value: str) -> str:
    """Check that a header is one line of ASCII; httpx would send other text as UTF-8.

    Raises:
        ValueError: it is not; the message omits the value, which may be a key.
    """
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header is not one line of ASCII")
    return value


def lower_case(headers: httpx.Headers) -> dict[str, str]:
    """Return headers by lower-case name; repeated ones are joined by commas."""
    return dict(headers.items())


def without_body(response: httpx.Response) -> bool:
    """Whether the body is lost: a hook of the caller's raised, which closes the response unread."""
    return response.is_closed and not response.is_stream_consumed

"""What is sent: the request of a provider as httpx takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from llmroute.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmroute.types import HTTPRequest, Upload

_PIECE_BYTES = 64 * 1024
_HEADERS = {"accept": "*/*", "accept-encoding": "identity"}
# How much earlier than the limit of all the one of connecting is, so that what has no connection by then says so: less
# than a request could still use, for the request's own deadline may be what limits both.
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
    """Return the request with what the client adds.

    `connect_s` bounds what the client's transport bounds by it: with httpx's own each address of a name, not all
    together.  `pool_s` bounds the wait for a connection of the pool, on aiohttp all of the way to one.

    Raises:
        httpx.InvalidURL, ValueError: it cannot be sent.
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
    """The body of an upload, in pieces; a request that is sent again reads the file again."""

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
    """Return the name under which requests go out: ours, unless the caller has given the client another."""
    named = client.headers.get("user-agent", _HTTPX_USER_AGENT)
    return _USER_AGENT if named == _HTTPX_USER_AGENT else named


def _ascii(value: str) -> str:
    """Let a header pass that is one line of ASCII; httpx would send other text as UTF-8.

    Raises:
        ValueError: it is not; the value, which may be a key, is not told.
    """
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header is not one line of ASCII")
    return value


def lower_case(headers: httpx.Headers) -> dict[str, str]:
    """Return headers by their lower-case names; one that comes twice is joined by a comma."""
    return dict(headers.items())


def without_body(response: httpx.Response) -> bool:
    """Whether the body can no longer be had: a hook of the caller's raised, which closes the response unread."""
    return response.is_closed and not response.is_stream_consumed

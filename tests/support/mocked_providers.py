"""Providers that are not there: the scripts of `tests.support.fault_server` as responses of httpx, for pytest-httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from pytest_httpx import IteratorStream

from tests.support.provider_servers import KEY, House

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_httpx import HTTPXMock

    from tests.support.fault_server import Script

ADDRESS = {
    "openai": "https://openai.example/v1/chat/completions",
    "anthropic": "https://anthropic.example/v1/messages",
}


def elsewhere(folder: Path, *providers: str) -> House:
    """Return a house whose providers are on machines that are not there; httpx_mock stands for them."""
    house = House(folder)
    for name in providers:
        house.environ |= {f"{name.upper()}_API_KEY": KEY, f"{name.upper()}_BASE_URL": f"https://{name}.example"}
    return house


def mock(httpx_mock: HTTPXMock, provider: str, answer: Script | Callable[[httpx.Request], Script]) -> None:
    """Give every request to a provider the same script, or the one that `answer` chooses; it must be asked."""

    def respond(request: httpx.Request) -> httpx.Response:
        return as_response(answer(request) if callable(answer) else answer)

    httpx_mock.add_callback(respond, url=ADDRESS[provider], method="POST", is_reusable=True)


def as_response(script: Script) -> httpx.Response:
    """Return what a script of bytes sends; each chunk of a chunked body is a piece."""
    data = b"".join(step for step in script if isinstance(step, bytes))
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rows = head.decode().split("\r\n")
    headers = dict(row.split(": ", 1) for row in rows)
    status = int(line.split(" ")[1])
    if headers.pop("transfer-encoding", None) == "chunked":
        return httpx.Response(status, headers=headers, stream=IteratorStream(_chunks(body)))
    return httpx.Response(status, headers=headers, content=body)


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, rest = body.partition(b"\r\n")
        if piece := rest[: int(size, 16)]:
            yield piece
        body = rest[int(size, 16) + 2 :]

"""A loopback server that answers every request at once, in a process of its own: `python -m tests.bench.server CHUNKS`.

It speaks the chat-completions format.  Answers are built before the first request, so that the server takes a small
share of the measured time.  It prints its port.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNKS = 3
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
HEAD = {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "created": 1}
KEY = "sk-bench-0123456789"


def complete() -> bytes:
    """Return a complete HTTP response that is not streamed."""
    message = {"role": "assistant", "content": "one two three"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def streamed(chunks: int) -> bytes:
    """Return a streamed HTTP response in which each event is one transfer chunk, as providers send it."""
    head = {**HEAD, "object": "chat.completion.chunk"}
    deltas = [{"content": f"word{number} "} for number in range(chunks)]
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**head, "choices": [], "usage": USAGE})
    lines = [b"data: %s\n\n" % json.dumps(event).encode() for event in events] + [b"data: [DONE]\n\n"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + body
        + b"0\r\n\r\n"
    )


class AnsweringProtocol(asyncio.Protocol):
    """Reads the requests of one connection, and answers each."""

    def __init__(self, plain: bytes, stream: bytes) -> None:
        self._plain = plain
        self._stream = stream
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_ends := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:head_ends].lower()
            _, _, length = head.partition(b"content-length:")
            ends = head_ends + 4 + int(length.partition(b"\r\n")[0] or 0)
            if len(self._received) < ends:
                return
            body, self._received = self._received[head_ends + 4 : ends], self._received[ends:]
            streaming = b'"stream":true' in body.replace(b" ", b"")
            self._transport.write(self._stream if streaming else self._plain)


async def serve(chunks: int) -> None:
    """Serve until the process ends."""
    plain, stream = complete(), streamed(chunks)
    server = await asyncio.get_running_loop().create_server(
        lambda: AnsweringProtocol(plain, stream), "127.0.0.1", 0, backlog=512
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def serving(chunks: int = CHUNKS) -> Iterator[dict[str, str]]:
    """Start the server; yield the settings that point the OpenAI provider to it."""
    command = [sys.executable, "-m", "tests.bench.server", str(chunks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": KEY}
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

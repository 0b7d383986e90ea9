"""Reads Ollama's responses of /api/chat and /api/generate: whole, or one object per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import Answer, reported
from llmroute.providers.wire.line_decoder import LineDecoder
from llmroute.providers.wire.ollama_context import with_cut

if TYPE_CHECKING:
    from llmroute.providers.errors.parser import ErrorParser
    from llmroute.types import Chunk, Completion, HTTPRequest


class OllamaStreamReader:
    """Reads lines until one has `done`."""

    def __init__(self, faults: ErrorParser, sent: HTTPRequest | None = None) -> None:
        self._faults = faults
        self._sent = sent
        self._decoder = LineDecoder()
        self._answer = Answer()
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Process the next bytes; return the chunks that they complete."""
        return [] if self.done else self._read(self._decoder.feed(data))

    def finish(self) -> Completion:
        """Process the end of the bytes; return the whole answer."""
        if not self.done:
            self._read_tail()
        if not self.done:
            raise self._faults.unreadable("the stream ended before the end of the answer")
        return with_cut(self._answer.completion(), self._sent)

    @property
    def so_far(self) -> Completion:
        """The answer so far."""
        return self._answer.completion()

    def _read(self, lines: list[str]) -> list[Chunk]:
        chunks = []
        for line in lines:
            if not line or line.isspace():
                continue
            try:
                body = lenient_json.read(line)
            except ValueError:
                raise self._faults.unreadable("a line of the stream is not JSON") from None
            chunk = self._take(lenient_json.mapping(body))
            if chunk is not None:
                chunks.append(chunk)
            if self.done:
                break
        return chunks

    def _read_tail(self) -> None:
        # The last line may be truncated; then it is not JSON, and the answer is incomplete.
        line = self._decoder.finish()
        try:
            lenient_json.read(line)
        except ValueError:
            return
        self._read([line])

    def _take(self, body: dict[str, Any]) -> Chunk | None:
        if body.get("error"):
            raise self._faults.in_band(body)
        self.done = body.get("done") is True
        return read_piece(self._answer, body)


def parse_answer(body: dict[str, Any]) -> Completion:
    """Parse a whole answer."""
    answer = Answer()
    read_piece(answer, body)
    return answer.completion()


def read_piece(answer: Answer, body: dict[str, Any]) -> Chunk | None:
    """Add the text of an object; the last one has the usage and the finish reason."""
    message = lenient_json.mapping(body.get("message"))
    text = lenient_json.text(message.get("content")) if message else lenient_json.text(body.get("response"))
    thinking = lenient_json.text((message or body).get("thinking"))
    for call in lenient_json.objects(message.get("tool_calls")):
        answer.add_tool(None, lenient_json.text(lenient_json.mapping(call.get("function")).get("name")))
    answer.identify(body.get("model"), None)
    if body.get("done") is True:
        # Servers before done_reason sent only `done`.
        answer.finish(body.get("done_reason") or "stop")
        answer.usage = reported(
            input_tokens=lenient_json.count(body.get("prompt_eval_count")),
            output_tokens=lenient_json.count(body.get("eval_count")),
        )
        answer.usage_final = True
    return answer.add(text, thinking)

"""Reads a streamed answer in the chat-completions format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers.errors.parser import is_error
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import Answer
from llmroute.providers.wire.chat_parts import add_tools, parse_service, parse_usage, split_content, thoughts
from llmroute.providers.wire.sse import ServerEvent, SSEDecoder

if TYPE_CHECKING:
    from llmroute.providers.errors.parser import ErrorParser
    from llmroute.types import Chunk, Completion


class ChatStreamReader:
    """Reads chunks until `[DONE]`. An answer with a finish reason is complete without it."""

    def __init__(self, faults: ErrorParser, *, think_tags: bool = False) -> None:
        self._faults = faults
        self._decoder = SSEDecoder()
        self._answer = Answer(think_tags=think_tags)
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Process the next bytes; return the chunks that they complete."""
        if self.done:
            return []
        return self._read(self._decoder.feed(data))

    def finish(self) -> Completion:
        """Process the end of the bytes; return the whole answer."""
        if not self.done:
            self._read_tail()
        if not self.done and self._answer.finish_reason is None:
            raise self._faults.unreadable("the stream ended before the end of the answer")
        return self._answer.completion()

    @property
    def so_far(self) -> Completion:
        """The answer so far."""
        return self._answer.completion()

    def _read(self, events: list[ServerEvent]) -> list[Chunk]:
        chunks = []
        for event in events:
            if event.data.strip() == "[DONE]":
                self.done = True
                break
            try:
                body = lenient_json.read(event.data)
            except ValueError:
                raise self._faults.unreadable("an event of the stream is not JSON") from None
            if isinstance(body, dict):
                chunk = self._take(body, event.event)
                if chunk is not None:
                    chunks.append(chunk)
        return chunks

    def _read_tail(self) -> None:
        # The last event may be truncated; the events before it show whether the answer is complete.
        for event in self._decoder.finish():
            try:
                lenient_json.read(event.data)
            except ValueError:
                self.done = event.data.strip() == "[DONE]"
            else:
                self._read([event])

    def _take(self, body: dict[str, Any], event: str) -> Chunk | None:
        if event == "error" or is_error(body):
            raise self._faults.in_band(body)
        answer = self._answer
        answer.identify(body.get("model"), body.get("id"))
        if "service_tier" in body or body.get("usage"):
            answer.service = parse_service(body) or answer.service
        text = thinking = ""
        for choice in lenient_json.objects(body.get("choices")):
            if choice.get("index"):
                continue
            # A server that cannot stream may send the whole message in one event.
            name = "message" if "delta" not in choice and "message" in choice and not str(answer.text) else "delta"
            delta = lenient_json.mapping(choice.get(name))
            words, thought = split_content(delta.get("content") if name in choice else choice.get("text"))
            text += words
            thinking += thought
            # Nearly every delta has only content.
            if len(delta) > 1 or "content" not in delta:
                thinking += thoughts(delta)
                answer.refusal.add(lenient_json.text(delta.get("refusal")))
                add_tools(answer, delta)
            answer.finish(choice.get("finish_reason"))
        if (fields := body.get("usage")) and (usage := parse_usage(fields)).source == "reported":
            answer.usage = usage
            # Some servers report usage in every chunk.
            answer.usage_final = answer.finish_reason is not None
        elif text or thinking:
            answer.usage_final = False
        return answer.add(text, thinking)

"""Reads a streamed answer of Anthropic's Messages API, and the parts common to streamed and whole answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import Answer, reported, sound
from llmroute.providers.wire.sse import ServerEvent, SSEDecoder
from llmroute.types import Service

if TYPE_CHECKING:
    from llmroute.providers.errors.parser import ErrorParser
    from llmroute.types import Chunk, Completion, Usage


class MessageStreamReader:
    """Reads events until `message_stop`."""

    def __init__(self, faults: ErrorParser) -> None:
        self._faults = faults
        self._decoder = SSEDecoder()
        self._answer = Answer()
        self._usage: dict[str, Any] = {}
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
        return self._answer.completion()

    @property
    def so_far(self) -> Completion:
        """The answer so far."""
        return self._answer.completion()

    def _read(self, events: list[ServerEvent]) -> list[Chunk]:
        chunks = []
        for event in events:
            try:
                body = lenient_json.mapping(lenient_json.read(event.data))
            except ValueError:
                raise self._faults.unreadable("an event of the stream is not JSON") from None
            chunk = self._take(body)
            if chunk is not None:
                chunks.append(chunk)
            if self.done:
                break
        return chunks

    def _read_tail(self) -> None:
        # The last event may be truncated; then it is not JSON, and the answer is incomplete.
        for event in self._decoder.finish():
            try:
                lenient_json.read(event.data)
            except ValueError:
                return
            self._read([event])

    def _take(self, body: dict[str, Any]) -> Chunk | None:
        kind = body.get("type")
        if kind == "content_block_delta":
            self._answer.usage_final = False
            return read_part(self._answer, lenient_json.mapping(body.get("delta")))
        if kind == "content_block_start":
            return read_part(self._answer, lenient_json.mapping(body.get("content_block")))
        if kind == "message_start":
            message = lenient_json.mapping(body.get("message"))
            self._answer.identify(message.get("model"), message.get("id"))
            self._count(message.get("usage"))
        elif kind == "message_delta":
            read_stop(self._answer, lenient_json.mapping(body.get("delta")))
            self._count(body.get("usage"))
            # The count at the start of the message covers only its first tokens.
            counted = lenient_json.count(lenient_json.mapping(body.get("usage")).get("output_tokens")) is not None
            self._answer.usage_final = counted and self._answer.finish_reason is not None
        elif kind == "message_stop":
            self.done = True
        elif kind == "error" or body.get("error"):
            raise self._faults.in_band(body)
        return None

    def _count(self, usage: object) -> None:
        # Counters are cumulative, and later events omit some: each replaces its earlier value.
        self._usage |= {key: value for key, value in lenient_json.mapping(usage).items() if value is not None}
        self._answer.usage = parse_usage(self._usage)
        self._answer.service = parse_service(self._usage)


def read_part(answer: Answer, part: dict[str, Any]) -> Chunk | None:
    """Add a block of content, the start of one, or a delta; other kinds are ignored."""
    kind = part.get("type")
    if kind == "tool_use":
        answer.add_tool(None, lenient_json.text(part.get("name")))
    if kind in ("text", "text_delta"):
        return answer.add(lenient_json.text(part.get("text")))
    if kind in ("thinking", "thinking_delta"):
        return answer.add("", lenient_json.text(part.get("thinking")))
    return None


def read_stop(answer: Answer, event: dict[str, Any]) -> None:
    """Record the finish reason, and the reason of a refusal."""
    answer.finish(event.get("stop_reason"))
    answer.refusal.add(lenient_json.text(lenient_json.mapping(event.get("stop_details")).get("explanation")))


def parse_usage(usage: dict[str, Any]) -> Usage:
    """Parse usage. Anthropic's input count excludes cached tokens; ours is the whole prompt."""
    fresh = lenient_json.count(usage.get("input_tokens"))
    cached = lenient_json.count(usage.get("cache_read_input_tokens"))
    by_life = lenient_json.mapping(usage.get("cache_creation"))
    for_5_minutes, for_an_hour = (
        lenient_json.count(by_life.get(f"ephemeral_{life}_input_tokens")) for life in ("5m", "1h")
    )
    written = lenient_json.count(usage.get("cache_creation_input_tokens"))
    if written is None and (for_5_minutes or for_an_hour):
        written = (for_5_minutes or 0) + (for_an_hour or 0)
    return reported(
        input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output_tokens=lenient_json.count(usage.get("output_tokens")),
        cached=cached,
        cache_write=written,
        cache_write_1h=for_an_hour,
        reasoning=lenient_json.count(lenient_json.mapping(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


def parse_service(usage: dict[str, Any]) -> Service:
    """Read the other fields of a usage that set the price; a fast answer is a tier of its own."""
    uses = lenient_json.mapping(usage.get("server_tool_use")).items()
    counted = ((sound(str(name)), lenient_json.count(count)) for name, count in uses)
    fast = usage.get("speed") == "fast"
    return Service(
        tier="fast" if fast else sound(lenient_json.text(usage.get("service_tier"))) or None,
        geo=sound(lenient_json.text(usage.get("inference_geo"))) or None,
        tools=tuple((name, count) for name, count in counted if count),
    )

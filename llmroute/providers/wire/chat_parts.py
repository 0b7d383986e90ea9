"""The common parts of whole and streamed answers in the chat-completions format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import reported, sound
from llmroute.types import Service

if TYPE_CHECKING:
    from llmroute.providers.wire.accumulator import Answer
    from llmroute.types import Usage


def split_content(content: object) -> tuple[str, str]:
    """Return the text and the thinking of `content`: a string, or Mistral's list of chunks."""
    if isinstance(content, str):
        return content, ""
    text = thinking = ""
    for part in lenient_json.items(content):
        if isinstance(part, str):
            text += part
            continue
        chunk = lenient_json.mapping(part)
        if chunk.get("type") == "text":
            text += lenient_json.text(chunk.get("text"))
        elif chunk.get("type") == "thinking":
            thought = chunk.get("thinking")
            thinking += lenient_json.text(thought)
            thinking += "".join(lenient_json.text(piece.get("text")) for piece in lenient_json.objects(thought))
    return text, thinking


def thoughts(message: dict[str, Any]) -> str:
    """Return the thinking beside the content, under either of its names."""
    return lenient_json.text(message.get("reasoning_content")) or lenient_json.text(message.get("reasoning"))


def add_tools(answer: Answer, message: dict[str, Any], *, whole: bool = False) -> None:
    """Add the tool calls of a whole message or of a delta, and the one function call of the older format."""
    for call in lenient_json.objects(message.get("tool_calls")):
        index = call.get("index")
        name = lenient_json.text(lenient_json.mapping(call.get("function")).get("name"))
        answer.add_tool(index if isinstance(index, int) and not whole else None, name)
    if legacy := lenient_json.mapping(message.get("function_call")):
        answer.add_tool("function_call", lenient_json.text(legacy.get("name")))


def parse_usage(usage: object) -> Usage:
    """Parse usage: cached tokens are part of the input and reasoning tokens part of the output."""
    fields = lenient_json.mapping(usage)
    prompt = lenient_json.mapping(fields.get("prompt_tokens_details") or fields.get("prompt_token_details"))
    answer = lenient_json.mapping(fields.get("completion_tokens_details"))
    cached = (prompt.get("cached_tokens"), fields.get("cached_tokens"), fields.get("num_cached_tokens"))
    reasoning = (answer.get("reasoning_tokens"), fields.get("reasoning_tokens"))
    return reported(
        input_tokens=lenient_json.count(fields.get("prompt_tokens")),
        output_tokens=lenient_json.count(fields.get("completion_tokens")),
        cached=_first(cached),
        cache_write=lenient_json.count(prompt.get("cache_write_tokens")),
        reasoning=_first(reasoning),
    )


def parse_service(body: dict[str, Any]) -> Service | None:
    """Read the service tier, beside the usage or in it; None where it is absent."""
    tier = lenient_json.text(body.get("service_tier") or lenient_json.mapping(body.get("usage")).get("service_tier"))
    return Service(tier=sound(tier)) if tier else None


def _first(values: tuple[object, ...]) -> int | None:
    return next((number for number in map(lenient_json.count, values) if number is not None), None)

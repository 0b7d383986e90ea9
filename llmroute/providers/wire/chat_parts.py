"""The parts of an answer that a whole one and a streamed one in the chat-completions format have in common."""

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
    """Return the thinking that stands beside the content, under either of its names."""
    return lenient_json.text(message.get("reasoning_content")) or lenient_json.text(message.get("reasoning"))


def add_tools(answer: Answer, message: dict[str, Any], *, whole: bool = False) -> None:
    """Add the tools that a message calls, `whole` or the delta of one, and the one function of the older format."""
    for call in lenient_json.objects(message.get("tool_calls")):
        index = call.get("index")
        name = lenient_json.text(lenient_json.mapping(call.get("function")).get("name"))
        answer.add_tool(index if isinstance(index, int) and not whole else None, name)
    if legacy := lenient_json.mapping(message.get("function_call")):
        answer.add_tool("function_call", lenient_json.text(legacy.get("name")))


def parse_usage(usage: object) -> Usage:
    """Read usage: cached tokens are part of the prompt's and reasoning tokens of the answer's, as everywhere here."""
    told = lenient_json.mapping(usage)
    prompt = lenient_json.mapping(told.get("prompt_tokens_details") or told.get("prompt_token_details"))
    answer = lenient_json.mapping(told.get("completion_tokens_details"))
    cached = (prompt.get("cached_tokens"), told.get("cached_tokens"), told.get("num_cached_tokens"))
    reasoning = (answer.get("reasoning_tokens"), told.get("reasoning_tokens"))
    return reported(
        input_tokens=lenient_json.count(told.get("prompt_tokens")),
        output_tokens=lenient_json.count(told.get("completion_tokens")),
        cached=_first(cached),
        cache_write=lenient_json.count(prompt.get("cache_write_tokens")),
        reasoning=_first(reasoning),
    )


def parse_service(body: dict[str, Any]) -> Service | None:
    """Read the tier of service, which stands beside the usage or in it; None where nothing is told."""
    tier = lenient_json.text(body.get("service_tier") or lenient_json.mapping(body.get("usage")).get("service_tier"))
    return Service(tier=sound(tier)) if tier else None


def _first(values: tuple[object, ...]) -> int | None:
    return next((number for number in map(lenient_json.count, values) if number is not None), None)

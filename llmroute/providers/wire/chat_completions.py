"""The wire format of OpenAI, Mistral, Together and llama.cpp's server; each provider adds only its dialect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.providers import NO_HEADERS, ListedModel, ModelPage
from llmroute.providers.errors.parser import ErrorParser
from llmroute.providers.rendering.answer_format import response_format, with_form
from llmroute.providers.rendering.attachment_parts import image_url, turns
from llmroute.providers.rendering.effort import render_effort, temperature
from llmroute.providers.rendering.prompt_cache import cache_key
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import Answer
from llmroute.providers.wire.chat_parts import add_tools, parse_service, parse_usage, split_content, thoughts
from llmroute.providers.wire.chat_stream import ChatStreamReader
from llmroute.providers.wire.stream_or_whole import StreamOrWholeReader, begins_as_json
from llmroute.types import HTTPRequest
from llmroute.urls import is_loopback, versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint
    from llmroute.providers.errors.rules import ErrorRule
    from llmroute.types import Attachment, Completion, ModelConfig, Prompt


def _name_only(row: dict[str, Any]) -> ListedModel | None:
    name = lenient_json.text(row.get("id"))
    return ListedModel(name) if name else None


_TIER_WORDS = {"standard": "default"}
"""OpenAI's names of tiers on the wire; "auto", its default, means the setting of the key's project."""


class Dialect(NamedTuple):
    """A provider that uses the format: its name, base URL and differences.

    `service_tiers` means that a request may choose a tier.  `max_completion_tokens` means that the provider's own
    address accepts the limit under that name for every model; behind another address the model's setting decides the
    name. `parse_model` parses a row of the model list, None for a model without chat.  `think_tags` means that models
    may write their thinking before the answer.  `rules` are errors with another meaning here. `attachment` renders
    an image or a PDF as a part of a message.  `prompt_cache_key` means that requests may have a cache key.
    """

    name: str
    base_url: str
    max_completion_tokens: bool = False
    stream_options: bool = False
    max_temperature: float = 2.0
    organization_header: str | None = None
    parse_model: Callable[[dict[str, Any]], ListedModel | None] = _name_only
    think_tags: bool = False
    rules: tuple[ErrorRule, ...] = ()
    local: bool = False
    service_tiers: bool = False
    attachment: Callable[[Attachment], dict[str, Any]] = image_url
    prompt_cache_key: bool = False


class ChatCompletions:
    """A provider with the format in one dialect, at one endpoint."""

    unreachable_hint = None

    def __init__(self, dialect: Dialect, endpoint: Endpoint) -> None:
        self._dialect = dialect
        self._endpoint = endpoint
        self.faults = ErrorParser(dialect.name, endpoint.secrets, dialect.rules, parse_usage)
        self.base_url = versioned(endpoint.base_url or dialect.base_url)
        self.local = dialect.local and is_loopback(self.base_url)

    def render_request(self, prompt: Prompt, model: ModelConfig) -> HTTPRequest:
        """Render the request for an answer, without parameters that the model does not support."""
        limits = model.parameters
        prompt, form = with_form(prompt, model)
        messages: list[dict[str, Any]] = [{"role": "system", "content": prompt.system}] if prompt.system else []
        messages += turns(prompt, self._dialect.attachment)
        body: dict[str, Any] = {"model": model.api_name, "messages": messages}
        warmth = temperature(prompt, limits, self._dialect.max_temperature)
        if warmth is not None:
            body["temperature"] = warmth
        if prompt.max_tokens is not None:
            body[self._max_tokens_key(model)] = prompt.max_tokens
        if prompt.stop and limits.stop:
            body["stop"] = list(prompt.stop)
        body |= render_effort(prompt, limits, ("reasoning_effort", "reasoning_enabled"))
        body |= response_format(form)
        if prompt.tier is not None and self._dialect.service_tiers:
            body["service_tier"] = _TIER_WORDS.get(prompt.tier, prompt.tier)
        if self._dialect.prompt_cache_key and (key := cache_key(prompt)) is not None:
            body["prompt_cache_key"] = key
        if prompt.streaming:
            body["stream"] = True
            if self._dialect.stream_options:
                body["stream_options"] = {"include_usage": True}
        return HTTPRequest("POST", self.base_url + "/chat/completions", self.headers(), to_wire(body))

    def parse_completion(self, body: bytes, sent: HTTPRequest | None = None) -> Completion:  # noqa: ARG002
        """Parse a whole answer; the first choice is the answer."""
        payload = self.faults.read_answer(body)
        if not isinstance(payload, dict) or not isinstance(payload.get("choices"), list):
            raise self.faults.unreadable("the answer has no choices")
        answer = Answer(think_tags=self._dialect.think_tags)
        answer.identify(payload.get("model"), payload.get("id"))
        answer.usage = parse_usage(payload.get("usage"))
        answer.usage_final = True
        answer.service = parse_service(payload) or answer.service
        choices = lenient_json.objects(payload["choices"])
        if choices:
            _read_choice(answer, min(choices, key=lambda choice: lenient_json.count(choice.get("index")) or 0))
        return answer.completion()

    def open_stream(self, sent: HTTPRequest | None = None) -> StreamOrWholeReader:  # noqa: ARG002
        """Return a reader of a streamed answer."""
        streamed = ChatStreamReader(self.faults, think_tags=self._dialect.think_tags)
        return StreamOrWholeReader(streamed, self.parse_completion, begins_as_json)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse a response with an error status."""
        return self.faults.from_response(status, headers, body)

    def render_models(self) -> HTTPRequest:
        """Render the free request that lists models."""
        return HTTPRequest("GET", self.base_url + "/models", self.headers())

    def parse_models(self, body: bytes) -> ModelPage:
        """Parse the model list: rows under `data`, or a bare array."""
        payload = self.faults.read_answer(body, "the model list")
        rows = payload.get("data", []) if isinstance(payload, dict) else payload
        if not isinstance(rows, list) and rows is not None:
            raise self.faults.unreadable("the response is not a model list")
        models = (self._dialect.parse_model(row) for row in lenient_json.objects(rows))
        return ModelPage(tuple(model for model in models if model is not None))

    def render_show(self, model: ModelConfig) -> HTTPRequest | None:  # noqa: ARG002 (the contract's)
        """Return None: no request must precede a call."""
        return None

    def parse_show(self, body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> ListedModel:  # noqa: ARG002
        """Raise BadOutputError: `render_show` renders no request."""
        raise self.faults.unreadable(f"no request was made for these {len(body)} bytes")

    def _max_tokens_key(self, model: ModelConfig) -> str:
        if not self._dialect.max_completion_tokens:
            return "max_tokens"
        at_provider = self.base_url == self._dialect.base_url
        return "max_completion_tokens" if at_provider else model.parameters.max_tokens_name

    def headers(self) -> dict[str, str]:
        """Return the headers of every request; they hold the key."""
        headers = {"content-type": "application/json"}
        if self._endpoint.api_key:
            headers["authorization"] = f"Bearer {self._endpoint.api_key}"
        if self._endpoint.organization and self._dialect.organization_header:
            headers[self._dialect.organization_header] = self._endpoint.organization
        return headers


def to_wire(body: dict[str, Any]) -> bytes:
    """Return a body as JSON in UTF-8; a single surrogate, which UTF-8 cannot encode, becomes a question mark."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _read_choice(answer: Answer, choice: dict[str, Any]) -> None:
    message = lenient_json.mapping(choice.get("message"))
    text, thinking = split_content(message.get("content") if message else choice.get("text"))
    answer.add(text, thinking + thoughts(message))
    answer.refusal.add(lenient_json.text(message.get("refusal")))
    add_tools(answer, message, whole=True)
    answer.finish(choice.get("finish_reason"))

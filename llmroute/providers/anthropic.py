"""Anthropic's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers import NO_HEADERS, ListedModel, ModelPage
from llmroute.providers.errors.parser import ErrorParser
from llmroute.providers.rendering.answer_format import output_config, with_form
from llmroute.providers.rendering.attachment_parts import anthropic_block, turns
from llmroute.providers.rendering.effort import effort_word, temperature, thinking_budget, wants_thinking
from llmroute.providers.rendering.prompt_cache import mark_anthropic
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.accumulator import Answer
from llmroute.providers.wire.anthropic_stream import (
    MessageStreamReader,
    parse_service,
    parse_usage,
    read_part,
    read_stop,
)
from llmroute.providers.wire.chat_completions import to_wire
from llmroute.providers.wire.stream_or_whole import StreamOrWholeReader, begins_as_json
from llmroute.types import HTTPRequest
from llmroute.urls import versioned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint
    from llmroute.types import Completion, ModelConfig, Prompt

BASE_URL = "https://api.anthropic.com/v1"
VERSION = "2026-10-21"  # As in anthropic 2.14.0 (_constants.py).
DEFAULT_MAX_TOKENS = 16_000
CAPABILITIES = {"image_input": "vision", "pdf_input": "pdf", "structured_outputs": "json", "thinking": "reasoning"}


class Anthropic:
    """Anthropic at one endpoint."""

    local = False
    unreachable_hint = None

    def __init__(self, endpoint: Endpoint) -> None:
        self._api_key = endpoint.api_key
        self.faults = ErrorParser("anthropic", endpoint.secrets, parse_usage=parse_usage)
        self.base_url = versioned(endpoint.base_url or BASE_URL)

    def render_request(self, prompt: Prompt, model: ModelConfig) -> HTTPRequest:
        """Render the request for an answer; `max_tokens` is never above the model's own."""
        max_tokens = DEFAULT_MAX_TOKENS if prompt.max_tokens is None else prompt.max_tokens
        max_tokens = min(max_tokens, model.max_output or max_tokens)
        prompt, form = with_form(prompt, model)
        body: dict[str, Any] = {
            "model": model.api_name,
            "max_tokens": max_tokens,
            "messages": turns(prompt, anthropic_block),
        }
        if prompt.system:
            body["system"] = prompt.system
        mark_anthropic(prompt, model, body)
        body |= _render_effort(prompt, model, max_tokens)
        if config := output_config(form):
            body["output_config"] = {**body.get("output_config", {}), **config}
        warmth = temperature(prompt, model.parameters, 1.0)
        # A model that thinks accepts no temperature.
        if warmth is not None and body.get("thinking", {}).get("type", "disabled") == "disabled":
            body["temperature"] = warmth
        if prompt.stop and model.parameters.stop:
            body["stop_sequences"] = list(prompt.stop)
        if prompt.streaming:
            body["stream"] = True
        return HTTPRequest("POST", self.base_url + "/messages", self.headers(), to_wire(body))

    def parse_completion(self, body: bytes, sent: HTTPRequest | None = None) -> Completion:  # noqa: ARG002
        """Parse a whole answer: text blocks joined, thinking separate, blocks of other kinds ignored."""
        payload = lenient_json.mapping(self.faults.read_answer(body))
        if not isinstance(payload.get("content"), list):
            raise self.faults.unreadable("the answer has no content")
        answer = Answer()
        answer.identify(payload.get("model"), payload.get("id"))
        for block in lenient_json.objects(payload["content"]):
            read_part(answer, block)
        answer.usage = parse_usage(lenient_json.mapping(payload.get("usage")))
        answer.usage_final = True
        answer.service = parse_service(lenient_json.mapping(payload.get("usage")))
        read_stop(answer, payload)
        return answer.completion()

    def open_stream(self, sent: HTTPRequest | None = None) -> StreamOrWholeReader:  # noqa: ARG002
        """Return a reader of a streamed answer."""
        return StreamOrWholeReader(MessageStreamReader(self.faults), self.parse_completion, begins_as_json)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse a response with an error status."""
        return self.faults.from_response(status, headers, body)

    def render_models(self, after: str | None = None) -> HTTPRequest:
        """Render the free request that lists models, from after the model `after`."""
        url = f"{self.base_url}/models?limit=1000"
        if after:
            from urllib.parse import quote

            url += "&after_id=" + quote(after, safe="")
        return HTTPRequest("GET", url, self.headers())

    def parse_models(self, body: bytes) -> ModelPage:
        """Parse a page of the model list, without models that are already retired."""
        payload = lenient_json.mapping(self.faults.read_answer(body, "the model list"))
        rows = lenient_json.objects(payload.get("data"))
        if not isinstance(payload.get("data"), list):
            raise self.faults.unreadable("the response is not a model list")
        not_retired = (row for row in rows if lenient_json.text(row.get("id")) and row.get("lifecycle") != "retired")
        last = lenient_json.text(payload.get("last_id"))
        more = payload.get("has_more") is True and bool(last) and bool(rows)
        return ModelPage(tuple(map(_parse_model, not_retired)), self.render_models(after=last) if more else None)

    def render_show(self, model: ModelConfig) -> HTTPRequest | None:  # noqa: ARG002 (the contract's)
        """Return None: no request must precede a call."""
        return None

    def parse_show(self, body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> ListedModel:  # noqa: ARG002
        """Raise BadOutputError: `render_show` renders no request."""
        raise self.faults.unreadable(f"no request was made for these {len(body)} bytes")

    def headers(self) -> dict[str, str]:
        """Return the headers of every request; they hold the key."""
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        return headers | ({"x-api-key": self._api_key} if self._api_key else {})


def connect(endpoint: Endpoint) -> Anthropic:
    """Return Anthropic at `endpoint`."""
    return Anthropic(endpoint)


def _render_effort(prompt: Prompt, model: ModelConfig, max_tokens: int) -> dict[str, Any]:
    limits = model.parameters
    if prompt.effort is None:
        return {}
    if limits.effort_form == "thinking_budget":
        budget = thinking_budget(prompt.effort, max_tokens)
        return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget else {}
    if limits.effort_form != "output_config":
        return {}
    word = effort_word(prompt.effort, limits.efforts)
    if word == "none":
        return {"thinking": {"type": "disabled"}}
    # A model that always thinks gets no instruction to start.
    thinking = {"thinking": {"type": "adaptive"}} if wants_thinking(prompt) else {}
    return thinking | {"output_config": {"effort": word}} if word else {}


def _parse_model(row: dict[str, Any]) -> ListedModel:
    features = lenient_json.mapping(row.get("capabilities"))
    supported = {
        name for key, name in CAPABILITIES.items() if lenient_json.mapping(features.get(key)).get("supported") is True
    }
    return ListedModel(
        lenient_json.text(row.get("id")),
        context_window=lenient_json.positive(row.get("max_input_tokens")),
        max_output=lenient_json.positive(row.get("max_tokens")),
        capabilities=frozenset(supported) if features else None,
        deprecated_on=lenient_json.date(row.get("deprecated_at")),
        retires_on=lenient_json.date(row.get("retires_at")),
    )

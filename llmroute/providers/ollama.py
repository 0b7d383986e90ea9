"""Ollama's own API: /api/chat, whose responses are one JSON object or one per line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmroute.errors import AuthenticationError, ContextLengthError, ModelGoneError, ParameterError
from llmroute.providers import NO_HEADERS, ListedModel, ModelPage
from llmroute.providers.errors.parser import ErrorParser
from llmroute.providers.errors.rules import ErrorRule
from llmroute.providers.rendering.answer_format import with_form
from llmroute.providers.rendering.attachment_parts import with_images
from llmroute.providers.rendering.effort import render_effort, temperature
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import to_wire
from llmroute.providers.wire.ollama_context import context_for, with_cut
from llmroute.providers.wire.ollama_stream import OllamaStreamReader, parse_answer
from llmroute.providers.wire.stream_or_whole import StreamOrWholeReader, begins_as_one_object
from llmroute.text.redaction import shown
from llmroute.types import HTTPRequest
from llmroute.urls import OLLAMA_URL, is_loopback, is_ollama_cloud_tag, ollama_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint
    from llmroute.providers.wire.ollama_pull import PullReader
    from llmroute.types import Completion, ModelConfig, Prompt

_NUM_CTX = re.compile(r"^\s*(?:PARAMETER\s+)?num_ctx\s+\"?(\d{1,10})\b", re.MULTILINE | re.IGNORECASE)
_NO_SUCH_REQUEST = (400, 404, 405, 410, 415, 422, 501)
# The server supports schemas for any completion model.
CAPABILITIES = {"completion": "json", "tools": "function_calling", "vision": "vision", "thinking": "reasoning"}
# Ollama sends errors without codes: these phrases of its messages are the only sign of what happened.
_NOT_FOUND = re.compile(r"""model ['"]?([\w./:-]+)['"]? not found""")
_NO_MEMORY = re.compile(r"system memory")
_NO_THINKING = re.compile(r"does not support thinking$")
RULES = (
    # The server truncated the prompt until no user message remained.
    ErrorRule(ContextLengthError, words=r"no user query", only=(400, 500)),
    ErrorRule(ParameterError, words=r'" does not support (thinking|tools|chat|generate)', only=(400,)),
)
# The registry has no manifest of the model.
PULL_RULES = (ErrorRule(ModelGoneError, words=r"manifest\b.*does not exist"), *RULES)


class Ollama:
    """Ollama at one endpoint: on this machine, on another, or in the cloud."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._api_key = endpoint.api_key
        self._faults = ErrorParser("ollama", endpoint.secrets, RULES)
        self.base_url = ollama_root(endpoint.base_url or OLLAMA_URL)
        self.local = is_loopback(self.base_url)
        self.unreachable_hint = (
            "is Ollama running? start it with `ollama serve`"
            if self.local
            else f"is Ollama running at {shown(self.base_url)}?"
        )

    def render_request(self, prompt: Prompt, model: ModelConfig) -> HTTPRequest:
        """Render the request for an answer, with a window large enough for prompt and answer."""
        prompt, form = with_form(prompt, model)
        messages: list[dict[str, Any]] = [{"role": "system", "content": prompt.system}] if prompt.system else []
        messages += with_images(prompt)
        options: dict[str, Any] = {"num_ctx": context_for(prompt, model)}
        if prompt.max_tokens is not None:
            options["num_predict"] = prompt.max_tokens
        warmth = temperature(prompt, model.parameters, 2.0)
        if warmth is not None:
            options["temperature"] = warmth
        if prompt.stop and model.parameters.stop:
            options["stop"] = list(prompt.stop)
        body: dict[str, Any] = {"model": model.api_name, "messages": messages, "stream": prompt.streaming}
        body |= render_effort(prompt, model.parameters, ("think", "think_level"))
        if form is not None and form.schema is not None:
            body["format"] = form.schema
        return self._post("/api/chat", body | {"options": options})._replace(window=options["num_ctx"])

    def parse_completion(self, body: bytes, sent: HTTPRequest | None = None) -> Completion:
        """Parse a whole answer; with `sent`, check whether the prompt was truncated."""
        payload = lenient_json.mapping(self._faults.read_answer(body))
        if not {"message", "response", "done"} & payload.keys():
            raise self._faults.unreadable("the answer has no message")
        completion = parse_answer(payload)
        return with_cut(completion, sent)

    def open_stream(self, sent: HTTPRequest | None = None) -> StreamOrWholeReader:
        """Return a reader of a streamed answer; with `sent`, check whether the prompt was truncated."""
        return StreamOrWholeReader(
            OllamaStreamReader(self._faults, sent), lambda body: self.parse_completion(body, sent), begins_as_one_object
        )

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse a response with an error status; the hint for a model that is not pulled is the command."""
        error = self._faults.from_response(status, headers, body)
        named = _NOT_FOUND.search(error.message)
        if isinstance(error, ModelGoneError) and named:
            error.hint = f"ollama pull {named[1]}, or llmroute models pull ollama/{named[1]}"
        if isinstance(error, AuthenticationError):
            error.hint = "sign in with `ollama signin` if the model runs in Ollama's cloud"
        if _NO_MEMORY.search(error.message):
            error.hint = "choose a smaller model, or one that is quantized further"
        if isinstance(error, ParameterError) and _NO_THINKING.search(error.message):
            error.code = "think"
        return error

    def render_models(self) -> HTTPRequest:
        """Render the free request that lists the pulled models."""
        return HTTPRequest("GET", self.base_url + "/api/tags", self._headers())

    def parse_models(self, body: bytes) -> ModelPage:
        """Parse the list of models, with the mark of those that Ollama forwards to its cloud."""
        payload = lenient_json.mapping(self._faults.read_answer(body, "the model list"))
        if "models" not in payload:
            raise self._faults.unreadable("the response is not a model list")
        models = [_parse_model(row) for row in lenient_json.objects(payload["models"])]
        return ModelPage(tuple(model for model in models if model.api_name))

    def render_show(self, model: ModelConfig) -> HTTPRequest | None:
        """Render the request for the model's own limits."""
        return self._post("/api/show", {"model": model.api_name})

    def parse_show(self, body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> ListedModel:
        """Parse the model's own limits; empty where the server, such as a proxy, does not support the request."""
        if status != 200:  # noqa: PLR2004
            return self._without_show(status, headers, body)
        try:
            payload = lenient_json.mapping(lenient_json.read(body))
        except ValueError:
            return ListedModel("")
        if payload.get("error"):
            raise self._faults.in_band(payload)
        facts = lenient_json.mapping(payload.get("model_info"))
        family = lenient_json.text(facts.get("general.architecture"))
        keys = [f"{family}.context_length", *(key for key in facts if key.endswith(".context_length"))]
        windows = (lenient_json.positive(facts.get(key)) for key in keys)
        can = payload.get("capabilities")
        return ListedModel(
            "",
            context_window=next((window for window in windows if window), None),
            own_window=_own_window(payload),
            capabilities=frozenset(name for vendor_name, name in CAPABILITIES.items() if vendor_name in can)
            if isinstance(can, list)
            else None,
        )

    def _without_show(self, status: int, headers: Mapping[str, str], body: bytes) -> ListedModel:
        error = self.parse_error(status, headers, body)
        missing = isinstance(error, ModelGoneError) and _NOT_FOUND.search(error.message)
        if missing or not (status in _NO_SUCH_REQUEST or isinstance(error, ParameterError)):
            raise error
        return ListedModel("")

    def render_pull(self, api_name: str) -> HTTPRequest:
        """Render the request to fetch a model."""
        return self._post("/api/pull", {"model": api_name, "stream": True})

    def open_pull(self) -> PullReader:
        """Return a reader of the progress of the pull."""
        from llmroute.providers.wire.ollama_pull import PullReader

        return PullReader(ErrorParser("ollama", self._faults.redaction, PULL_RULES))

    def _post(self, path: str, body: dict[str, Any]) -> HTTPRequest:
        return HTTPRequest("POST", self.base_url + path, self._headers(), to_wire(body))

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        return headers | ({"authorization": f"Bearer {self._api_key}"} if self._api_key else {})


def connect(endpoint: Endpoint) -> Ollama:
    """Return Ollama at `endpoint`."""
    return Ollama(endpoint)


def _own_window(payload: dict[str, Any]) -> int | None:
    """Return the `num_ctx` of the model's own settings."""
    for settings in (payload.get("parameters"), payload.get("modelfile")):
        if found := _NUM_CTX.search(lenient_json.text(settings)):
            return lenient_json.positive(int(found[1]))
    return None


def _parse_model(row: dict[str, Any]) -> ListedModel:
    name = lenient_json.text(row.get("name")) or lenient_json.text(row.get("model"))
    bare = name.removesuffix(":latest")
    remote = bool(row.get("remote_host") or row.get("remote_model")) or is_ollama_cloud_tag(name)
    return ListedModel(
        name,
        aliases=(bare,) if bare != name else (),
        local=not remote,
        digest=lenient_json.text(row.get("digest")) or lenient_json.text(row.get("modified_at")) or None,
    )

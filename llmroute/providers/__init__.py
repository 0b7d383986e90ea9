"""The providers and the contract that each implements.

A provider does no I/O: it turns a prompt into an HTTP request, and bytes into completions, chunks and errors.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from llmroute.text.redaction import Redaction, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.errors import AttemptError
    from llmroute.types import Chunk, Completion, HTTPRequest, ModelConfig, Prompt


class ProviderSpec(NamedTuple):
    """One provider: its module, its requirements and its service tiers.

    `service_tiers` means that a request may choose a tier, `batches` that there is a batch API, `marks_cache` that only
    what a request marks is written to the prompt cache.
    """

    module: str
    needs_key: bool = True
    local: bool = False
    service_tiers: bool = False
    batches: bool = False
    marks_cache: bool = False


ENGINE: Final = "builtin"
"""The embedded engine, a provider on this machine."""

PROVIDERS: dict[str, ProviderSpec] = {
    "openai": ProviderSpec("llmroute.providers.openai", service_tiers=True, batches=True),
    "anthropic": ProviderSpec("llmroute.providers.anthropic", batches=True, marks_cache=True),
    "mistral": ProviderSpec("llmroute.providers.mistral", batches=True),
    "ollama": ProviderSpec("llmroute.providers.ollama", needs_key=False, local=True),
    "together": ProviderSpec("llmroute.providers.together", batches=True),
    ENGINE: ProviderSpec("llmroute.providers.builtin", needs_key=False, local=True),
}


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Endpoint(NamedTuple):
    """The address and credentials of a provider; `base_url` None is the provider's own address.

    `redaction` hides the secrets of all providers, because one may echo another's.
    """

    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    redaction: Redaction = Redaction()

    def __repr__(self) -> str:
        """Show every field except the key and a token in the address."""
        address = None if self.base_url is None else shown(self.base_url)
        return f"Endpoint(base_url={address!r}, organization={self.organization!r})"

    @property
    def secrets(self) -> Redaction:
        """The redaction of this endpoint's secrets and those of the others."""
        return Redaction.of((self.api_key, *self.redaction.secrets), (self.base_url,))


class ListedModel(NamedTuple):
    """A model in a provider's own list, callable with this key.  Dates are ISO, prices USD per Mtok.

    `own_window` is the window in the model's own settings; `digest` changes whenever the model does. `local` is False
    for a model that a server on this machine forwards to another machine; None is unknown.
    """

    api_name: str
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] | None = None
    deprecated_on: str | None = None
    retires_on: str | None = None
    successor: str | None = None
    price_input: float | None = None
    price_output: float | None = None
    local: bool | None = None
    own_window: int | None = None
    digest: str | None = None


class ModelPage(NamedTuple):
    """A page of a provider's model list, and the request for the next one."""

    models: tuple[ListedModel, ...]
    next_request: HTTPRequest | None = None


class StreamReader(Protocol):
    """Reads one streamed answer from bytes, in chunks of any size."""

    def feed(self, data: bytes) -> list[Chunk]:
        """Process the next bytes; return the chunks that they complete.

        Raises:
            AttemptError: the provider reported an error inside the stream, or the stream is malformed.
        """

    def finish(self) -> Completion:
        """Process the end of the bytes; return the whole answer.

        Its text may be longer than that of the chunks: a last line without a line end is read here.

        Raises:
            BadOutputError: the stream ended without its terminator or finish reason, or without content.
        """

    @property
    def done(self) -> bool:
        """Whether the terminator has been read; bytes after it are ignored."""

    @property
    def so_far(self) -> Completion:
        """The answer so far: for an attempt that was interrupted."""


class Provider(Protocol):
    """One provider at one endpoint."""

    @property
    def base_url(self) -> str:
        """The base URL, without a trailing slash."""

    @property
    def local(self) -> bool:
        """Whether a call stays on this machine."""

    @property
    def unreachable_hint(self) -> str | None:
        """A hint for when the address does not respond, or None."""

    def render_request(self, prompt: Prompt, model: ModelConfig) -> HTTPRequest:
        """Render the request for an answer, streamed when `prompt.streaming`."""

    def parse_completion(self, body: bytes, sent: HTTPRequest | None = None) -> Completion:
        """Parse a whole answer to the request `sent`, against which a provider may check it.

        Raises:
            AttemptError: the body is not an answer, is empty, or has an error despite its status.
        """

    def open_stream(self, sent: HTTPRequest | None = None) -> StreamReader:
        """Return a reader of a streamed answer to `sent`."""

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse a response with an error status. `headers` have lower-case names."""

    def render_models(self) -> HTTPRequest:
        """Render the free request that lists models: the health probe and `models --live`."""

    def parse_models(self, body: bytes) -> ModelPage:
        """Parse a page of the provider's model list.

        Raises:
            BadOutputError: the body is not a model list.
        """

    def render_show(self, model: ModelConfig) -> HTTPRequest | None:
        """Render the request for the model's own limits, which precedes a call; None where there is no such request."""

    def parse_show(self, body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> ListedModel:
        """Parse the response to `render_show`; empty where the server does not support the request.

        Raises:
            AttemptError: the server does not have the model, or failed.
        """


def connect(name: str, endpoint: Endpoint) -> Provider:
    """Return the provider called `name` at `endpoint`, importing only its module."""
    provider: Provider = import_module(PROVIDERS[name].module).connect(endpoint)
    return provider

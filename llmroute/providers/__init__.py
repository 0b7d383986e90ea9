"""The providers and the contract that each implements.

A provider does no I/O: it turns a prompt into an HTTP request, and bytes into completions, chunks and errors.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from llmroute.text.redaction import Redaction, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from llmroute.errors import AttemptError
    from llmroute.types import Chunk, Completion, HTTPRequest, ModelConfig, Prompt


class ProviderSpec(NamedTuple):
    """One provider: the module that speaks its language, what it needs, and its tiers.

    `service_tiers` says that a request may choose one, `batches` that it has a batch API.
    """

    module: str
    needs_key: bool = True
    local: bool = False
    service_tiers: bool = False
    batches: bool = False


PROVIDERS: dict[str, ProviderSpec] = {
    "openai": ProviderSpec("llmroute.providers.openai", service_tiers=True, batches=True),
    "anthropic": ProviderSpec("llmroute.providers.anthropic", batches=True),
    "mistral": ProviderSpec("llmroute.providers.mistral", batches=True),
    "ollama": ProviderSpec("llmroute.providers.ollama", needs_key=False, local=True),
    "together": ProviderSpec("llmroute.providers.together", batches=True),
    "builtin": ProviderSpec("llmroute.providers.builtin", needs_key=False, local=True),
}


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Endpoint(NamedTuple):
    """Where a provider is called and with what; `base_url` None is the provider's own address.

    `weights` is the model file that the user names for the embedded engine, `config_dir` where else to look for one.
    `redaction` hides the secrets of all providers: one may echo what is another's.
    """

    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    weights: Path | None = None
    config_dir: Path | None = None
    redaction: Redaction = Redaction()

    def __repr__(self) -> str:
        """Tell everything but the key, and a token in the address."""
        address = None if self.base_url is None else shown(self.base_url)
        return f"Endpoint(base_url={address!r}, organization={self.organization!r}, weights={self.weights!r})"

    @property
    def secrets(self) -> Redaction:
        """What hides this endpoint's secrets, and those of the others."""
        return Redaction.of((self.api_key, *self.redaction.secrets), (self.base_url,))


class ListedModel(NamedTuple):
    """What a provider's own list says of a model that this key can call.  Dates are ISO, prices USD per Mtok.

    `own_window` is the window that the model's own settings ask for, `digest` changes whenever the model does.
    `local` is False for a model that a server on this machine passes on to another; None where nothing was said.
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
    """Reads one streamed answer from bytes as they come, however they are cut."""

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes; return what they completed.

        Raises:
            AttemptError: the provider reported an error inside the stream, or sent what cannot be read.
        """

    def finish(self) -> Completion:
        """Say that the bytes have ended; return the whole answer.

        The chunks are the beginning of its text, not always all of it: a last line without its end is read here.

        Raises:
            BadOutputError: the stream ended without its terminator or finish reason, or said nothing.
        """

    @property
    def done(self) -> bool:
        """Whether the terminator has been read: what follows does not matter."""

    @property
    def so_far(self) -> Completion:
        """What is known of the answer at this point: for an attempt that was cut."""


class Provider(Protocol):
    """One provider at one endpoint."""

    @property
    def base_url(self) -> str:
        """Where it is called, without a trailing slash."""

    @property
    def local(self) -> bool:
        """Whether a call stays on this machine."""

    @property
    def unreachable_hint(self) -> str | None:
        """What to do when nothing answers there; None where there is nothing to be said."""

    def render_request(self, prompt: Prompt, model: ModelConfig) -> HTTPRequest:
        """Render the request for an answer, streamed when `prompt.streaming`."""

    def parse_completion(self, body: bytes, sent: HTTPRequest | None = None) -> Completion:
        """Read a whole answer; `sent` is the request it answers, against which a provider may check it.

        Raises:
            AttemptError: the body is not an answer, is empty, or holds an error in spite of its status.
        """

    def open_stream(self, sent: HTTPRequest | None = None) -> StreamReader:
        """Start to read a streamed answer to `sent`."""

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Say what an answer with an error status means.  `headers` have lower-case names."""

    def render_models(self) -> HTTPRequest:
        """Render the free request that lists models: the health probe and `models --live`."""

    def parse_models(self, body: bytes) -> ModelPage:
        """Read a page of the provider's model list.

        Raises:
            BadOutputError: the body is no model list.
        """

    def render_show(self, model: ModelConfig) -> HTTPRequest | None:
        """Render the request that must precede a call to learn the model's own limits; None where none must."""

    def parse_show(self, body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> ListedModel:
        """Read the answer to `render_show`, with nothing in it where the server does not know such a request.

        Raises:
            AttemptError: the server does not have the model, or failed.
        """


def connect(name: str, endpoint: Endpoint) -> Provider:
    """Return the provider called `name` at `endpoint`, importing only its module."""
    provider: Provider = import_module(PROVIDERS[name].module).connect(endpoint)
    return provider

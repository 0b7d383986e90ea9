"""Request types: messages, prompts and rendered HTTP requests."""

# No postponed annotations: see `llmroute.types`.
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from llmroute.text.redaction import shown
from llmroute.types.answer_schema import AnswerSchema
from llmroute.types.attachment import Attachment

if TYPE_CHECKING:
    from pathlib import Path

Role = Literal["user", "assistant"]
Effort = Literal["none", "low", "medium", "high"]
ServiceTier = Literal["standard", "flex", "priority", "batch", "auto"]
SERVICE_TIERS: tuple[ServiceTier, ...] = get_args(ServiceTier)
BATCH: ServiceTier = "batch"
"""The tier of the batch APIs, which take files of requests only."""
AUTO: ServiceTier = "auto"
"""For files of requests: the batch API for lines whose model has one, else flex, else the standard tier."""
EFFORTS: tuple[Effort, ...] = get_args(Effort)


class Message(NamedTuple):
    """One turn of a conversation; the system prompt is apart, in `Prompt.system`."""

    role: Role
    content: str


CacheLife = Literal["5m", "1h"]


class CacheMark(NamedTuple):
    """The beginning of a prompt that other requests share, to be kept in the provider's prompt cache.

    It is the system prompt, then the first `media` images and PDFs, then the first `characters` of the user's first
    message.  `life` is how long Anthropic keeps it after its last use.  `certain` says that the caller wants it marked
    also for a model whose shortest cacheable beginning is unknown.
    """

    life: CacheLife = "5m"
    media: int = 0
    characters: int = 0
    certain: bool = False


class Prompt(NamedTuple):
    """A prompt with its parameters, independent of the model.

    `None` means "not given": the provider's default applies.  `temperature` is 0 to 2, `max_tokens` counts output
    tokens, reasoning included.  The answer must be valid against `schema`.
    """

    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    streaming: bool = False
    tier: ServiceTier | None = None
    schema: AnswerSchema | None = None
    attachments: tuple[Attachment, ...] = ()
    """Those of text are already in the messages; the others are sent before the first message of the user."""
    cache: CacheMark | None = None
    """The part that is marked for the provider's prompt cache, None for nothing."""

    @property
    def media(self) -> tuple[Attachment, ...]:
        """The attachments that are sent beside the text: images and PDFs."""
        return tuple(one for one in self.attachments if one.facts.kind != "text")

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the prompt: those of the messages, then the system prompt, if any."""
        texts = tuple(message.content for message in self.messages)
        return (*texts, self.system) if self.system else texts


class Upload(NamedTuple):
    """A request body that is read from a file of lines while it is sent, between the bytes `before` and `after`.

    With `joined` the lines are separated by commas instead of ended by line feeds, as the items of a JSON array.
    `file_bytes` is the size of the file.
    """

    path: "Path"
    file_bytes: int
    before: bytes = b""
    after: bytes = b""
    joined: bool = False

    @property
    def size(self) -> int:
        """The length of the body in bytes."""
        return len(self.before) + self.file_bytes + len(self.after) - (1 if self.joined and self.file_bytes else 0)


HTTP_OK = 200


class HTTPRequest(NamedTuple):
    """A request as a provider renders it.  `body` is JSON text, ready to be sent.

    `window` is the context window with which a local server is to load the model, if requested. `upload` is sent
    instead of `body`. `is_download` means that the response is a file of any size.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str
    headers: dict[str, str]
    body: bytes | None = None
    window: int | None = None
    upload: Upload | None = None
    is_download: bool = False

    def __repr__(self) -> str:
        """Show every field except the headers, which contain the key, and a token in the address."""
        return f"HTTPRequest({self.method!r}, {shown(self.url)!r}, body={self.body!r})"

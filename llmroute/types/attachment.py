"""Attachments of a prompt, and their measures."""

# No postponed annotations: see `llmroute.types`.
from binascii import b2a_base64
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, TypeAlias

from llmroute.text.redaction import public
from llmroute.types.values import Answered, Value

AttachmentKind = Literal["image", "pdf", "text"]
PDF = "application/pdf"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AttachmentFacts(Answered):
    """An attachment without its content.  None is unknown: of a URL, which is not fetched, nearly everything is.

    `width` and `height` are pixels, `pages` those of a PDF; `url` says that the provider fetches the content itself.
    """

    name: str
    media_type: str
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    animated: bool = False
    encrypted: bool = False
    url: bool = False

    @property
    def kind(self) -> AttachmentKind:
        """How providers take it: as an image, as a PDF, or as text in the prompt."""
        if self.media_type == PDF:
            return "pdf"
        return "image" if self.media_type.startswith("image/") else "text"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Attachment(Value):
    """An image, a PDF or a text for a prompt: its bytes, or the URL that the provider fetches it from.

    `media_type` is detected from the content where it is None; `name` is its name for the model and in messages.
    """

    data: bytes | None = None
    url: str | None = None
    media_type: str | None = None
    name: str | None = None
    measured: AttachmentFacts | None = None
    """Filled by llmroute when it reads the content."""
    _encoded: list[str] = field(default_factory=list, init=False)

    @property
    def facts(self) -> AttachmentFacts:
        """The measures of an attachment that was read."""
        assert self.measured is not None
        return self.measured

    @property
    def base64(self) -> str:
        """The content in base64, encoded once however many requests hold it; empty of a URL."""
        if not self._encoded:
            self._encoded.append(b2a_base64(self.data or b"", newline=False).decode("ascii"))
        return self._encoded[0]

    @property
    def data_url(self) -> str:
        """The URL of the attachment, or its content as a `data:` URL."""
        return self.url or f"data:{self.facts.media_type};base64,{self.base64}"

    def __repr__(self) -> str:
        """Show every field except the content."""
        size = None if self.data is None else f"<{len(self.data)} bytes>"
        url = None if self.url is None else public(self.url)
        return f"Attachment(data={size}, url={url!r}, media_type={self.media_type!r}, name={self.name!r})"


AttachmentSource: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | Attachment
"""An attachment of a caller: a path, a URL as text, content, or an `Attachment`."""

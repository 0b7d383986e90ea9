"""The attachments of a request, and those of text in its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.types import CacheMark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.types import Attachment, CacheLife, Message
    from llmroute.types.attachment import AttachmentSource

_BETWEEN = "\n\n"


def read_attachments(sources: Sequence[AttachmentSource], media_type: str | None) -> tuple[Attachment, ...]:
    """Read the attachments of a request.

    Raises:
        RequestError: one cannot be read or sent; the message names it.
    """
    if media_type is not None:
        from llmroute.attachments.content_type import known_type

        known_type(media_type)
    if not sources:
        return ()
    from llmroute.attachments.reading import read_all

    return read_all(sources, media_type)


def cache_mark(attachments: Sequence[Attachment], life: CacheLife = "5m", *, certain: bool = False) -> CacheMark:
    """Return the mark after attachments, which come before all others of their requests."""
    texts = [_under_its_name(one) for one in attachments if one.facts.kind == "text"]
    characters = sum(len(text) + len(_BETWEEN) for text in texts)
    return CacheMark(life, len(attachments) - len(texts), characters, certain)


def with_texts(messages: tuple[Message, ...], attachments: tuple[Attachment, ...]) -> tuple[Message, ...]:
    """Return messages with the attachments of text, each under its name, before the first message of the user.

    Raises:
        RequestError: there are attachments, and no message of the user.
    """
    if not attachments:
        return messages
    first = next((at for at, message in enumerate(messages) if message.role == "user"), None)
    if first is None:
        raise RequestError("attachments need a message of the user", option="attachments")
    texts = [_under_its_name(one) for one in attachments if one.facts.kind == "text"]
    if not texts:
        return messages
    question = messages[first]
    content = _BETWEEN.join([*texts, question.content])
    return (*messages[:first], question._replace(content=content), *messages[first + 1 :])


def _under_its_name(attachment: Attachment) -> str:
    from llmroute.attachments.content_type import as_text

    facts = attachment.facts
    text = as_text(attachment.data or b"", facts.name).removesuffix("\n")
    name = facts.name.replace("&", "&amp;").replace('"', "&quot;")
    return f'<attachment name="{name}">\n{text}\n</attachment>'

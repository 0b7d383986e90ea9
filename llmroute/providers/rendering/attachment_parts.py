"""Attachments in requests: each provider's form of an image or a PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.types import Attachment, Prompt


def turns(prompt: Prompt, part: Callable[[Attachment], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a prompt, with its images and PDFs before the text of the user's first message.

    What other requests share, as the mark of the prompt measures it, comes first, in parts of its own.
    """
    found: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in prompt.messages]
    if media := prompt.media:
        first = next(turn for turn in found if turn["role"] == "user")
        text, parts, mark = first["content"], [*map(part, media)], prompt.cache
        shared, characters = (mark.media, mark.characters) if mark and mark.characters else (len(parts), 0)
        first["content"] = [
            *parts[:shared],
            *_text_part(text[:characters]),
            *parts[shared:],
            *_text_part(text[characters:]),
        ]
    return found


def _text_part(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def with_images(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the messages of a prompt in Ollama's form: images in base64 beside the text."""
    found: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in prompt.messages]
    if media := prompt.media:
        next(turn for turn in found if turn["role"] == "user")["images"] = [one.base64 for one in media]
    return found


def image_url(attachment: Attachment) -> dict[str, Any]:
    """Return an image as a part of a chat-completions message."""
    return {"type": "image_url", "image_url": {"url": attachment.data_url}}


def openai_part(attachment: Attachment) -> dict[str, Any]:
    """Return an image in high detail, which limits its tokens, or a PDF."""
    if attachment.facts.kind == "image":
        return {"type": "image_url", "image_url": {"url": attachment.data_url, "detail": "high"}}
    name = attachment.facts.name
    filename = name if name.lower().endswith(".pdf") else f"{name}.pdf"
    return {"type": "file", "file": {"filename": filename, "file_data": attachment.data_url}}


def mistral_part(attachment: Attachment) -> dict[str, Any]:
    """Return an image or a PDF in Mistral's form."""
    if attachment.facts.kind == "image":
        return image_url(attachment)
    return {"type": "document_url", "document_url": attachment.data_url, "document_name": attachment.facts.name}


def anthropic_block(attachment: Attachment) -> dict[str, Any]:
    """Return an image or a PDF as a block of Anthropic's."""
    facts = attachment.facts
    source = {"type": "base64", "media_type": facts.media_type, "data": attachment.base64}
    if attachment.url:
        source = {"type": "url", "url": attachment.url}
    if facts.kind == "image":
        return {"type": "image", "source": source}
    return {"type": "document", "source": source, "title": facts.name}

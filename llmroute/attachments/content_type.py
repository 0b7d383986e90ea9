"""The media type of an attachment, by its content, and its measures.  Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from llmroute.attachments.image_headers import GIF, JPEG, PNG, WEBP, image_header, image_type
from llmroute.attachments.pdf_pages import PDF_SIGNATURE, is_pdf, pdf_facts
from llmroute.errors import RequestError
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.redaction import one_line, public
from llmroute.types import PDF, Attachment, AttachmentFacts

TEXT: Final = "text/plain"
KNOWN: Final = "png, jpeg, gif or webp image, PDF or UTF-8 text"
_BINARY_TYPES: Final = (PNG, JPEG, GIF, WEBP, PDF)
_OTHER_NAMES: Final = {"image/jpg": JPEG, "image/pjpeg": JPEG, "application/x-pdf": PDF}
_TYPES_OF_ENDINGS: Final = {"png": PNG, "jpg": JPEG, "jpeg": JPEG, "gif": GIF, "webp": WEBP, "pdf": PDF}


def known_type(media_type: str) -> str:
    """Return a media type in its usual form, without parameters.

    Raises:
        RequestError: no provider takes attachments of it.
    """
    bare = media_type.partition(";")[0].strip().lower()
    found = _OTHER_NAMES.get(bare, bare)
    if found in _BINARY_TYPES or (found.startswith("text/") and len(found) > len("text/")):
        return found
    raise RequestError(
        OptionText(Remedy("attachment_type"), f": {media_type!r} is not one of {', '.join(_BINARY_TYPES)}, {TEXT}"),
        option="attachment_type",
    )


def measured(data: bytes, name: str, media_type: str | None) -> Attachment:
    """Return content as an attachment; `media_type` overrides the type of the content.

    Raises:
        RequestError: it is empty, of an unknown type, a damaged image, or text that is not UTF-8.
    """
    if not data:
        raise unusable(name, "it is empty")
    found = known_type(media_type) if media_type else _type_of_content(data, name)
    facts = AttachmentFacts(one_line(name), found, len(data))
    if facts.kind == "text":
        if not as_text(data, name):
            raise unusable(name, "it is empty")
    elif facts.kind == "pdf":
        counted = pdf_facts(data)
        facts = replace(facts, pages=counted.pages, encrypted=counted.encrypted)
    elif header := image_header(data):
        facts = replace(facts, width=header.width, height=header.height, animated=header.animated)
    elif not media_type:
        raise unusable(name, f"it is a damaged image ({found}): its header has no size")
    return Attachment(data=data, media_type=found, name=name, measured=facts)


def of_url(url: str, name: str | None, media_type: str | None) -> Attachment:
    """Return a URL, which the provider fetches, as an attachment.

    Raises:
        RequestError: it is not an HTTP address, its type is unknown, or it is text, which only a prompt holds.
    """
    ending = _path_of(url).rpartition(".")[2].lower()
    found = known_type(media_type) if media_type else _TYPES_OF_ENDINGS.get(ending)
    if found is None:
        hint = OptionText(Remedy("attachment_type"), f" says what it is: {PNG} or {PDF}; or download it")
        raise unusable(public(url), "its address does not end in png, jpeg, gif, webp or pdf", hint)
    facts = AttachmentFacts(name or public(url), found, url=True)
    if facts.kind == "text":
        raise unusable(facts.name, "no provider fetches text", "download it and attach the file")
    return Attachment(url=url, media_type=found, name=name, measured=facts)


def _path_of(url: str) -> str:
    """Return the path of an HTTP address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise unusable(public(url), "it is not an http or https address")
    return parts.path


def as_text(data: bytes, name: str) -> str:
    """Return content as text, without a byte order mark.

    Raises:
        RequestError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}"
        raise unusable(name, problem, "convert it: iconv -t utf-8") from None


def unusable(name: str, problem: str, hint: str | None = None) -> RequestError:
    """Return the error for an attachment that cannot be sent."""
    return RequestError(f"{one_line(name)} cannot be attached: {problem}", hint=hint, option="attachments")


def _type_of_content(data: bytes, name: str) -> str:
    # A text may begin as an image does, or name the signature of a PDF.
    if not data.startswith(PDF_SIGNATURE) and _is_text(data):
        return TEXT
    if (found := image_type(data)) is not None:
        return found
    if is_pdf(data):
        return PDF
    if b"\0" in data:
        raise unusable(name, f"it is not a {KNOWN}")
    as_text(data, name)
    return TEXT


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False

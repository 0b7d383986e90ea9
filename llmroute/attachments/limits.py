"""The attachments that each provider takes: types, bytes, pixels, pages and numbers.  Pure.

Sources: the vision, PDF and request-size pages of the providers' documentation (August 2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.attachments.image_headers import GIF, JPEG, PNG, WEBP
from llmroute.text.plural import many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llmroute.types import AttachmentFacts, ModelConfig

MIB: Final = 2**20
LARGE_WINDOW: Final = 1_000_000
"""The context window from which on Anthropic takes more images and pages."""
_PATCH_PIXELS: Final = 32


class Limits(NamedTuple):
    """The attachments that one provider takes.  None is no known limit.

    Attributes:
        images: media types of images.
        animated: those of them that may have several frames.
        image_urls, pdf_urls: whether it fetches them.
        pdfs: whether it takes PDFs.
        image_bytes, image_base64_bytes: of each image, as it is and as it is sent.
        image_pixels: of each side.
        image_patches: squares of 32 pixels of each image.
        many_images, many_images_pixels: the number of images beyond which each side has a lower limit, and that limit.
        number, number_in_large: images, and those for a model with a large context window.
        pdf_bytes: of all PDFs together.
        pages, pages_in_large: of all PDFs together, likewise.
        encrypted: whether PDFs may be encrypted.
        request_bytes: of the complete request.
    """

    images: frozenset[str] = frozenset((PNG, JPEG, GIF, WEBP))
    animated: frozenset[str] = frozenset()
    image_urls: bool = True
    pdfs: bool = True
    pdf_urls: bool = False
    image_bytes: int | None = None
    image_base64_bytes: int | None = None
    image_pixels: int | None = None
    image_patches: int | None = None
    many_images: int | None = None
    many_images_pixels: int | None = None
    number: int | None = None
    number_in_large: int | None = None
    pdf_bytes: int | None = None
    pages: int | None = None
    pages_in_large: int | None = None
    encrypted: bool = True
    request_bytes: int | None = None


LIMITS: Final = {
    "openai": Limits(image_patches=30_000, number=1_500, pdf_bytes=50 * MIB, request_bytes=512 * MIB),
    "anthropic": Limits(
        animated=frozenset([GIF]),
        pdf_urls=True,
        image_base64_bytes=10 * MIB,
        image_pixels=8_000,
        many_images=20,
        many_images_pixels=2_000,
        number=100,
        number_in_large=600,
        pages=100,
        pages_in_large=600,
        encrypted=False,
        request_bytes=32 * MIB,
    ),
    "mistral": Limits(pdf_urls=True, image_bytes=10 * MIB, image_pixels=10_000, pdf_bytes=10 * MIB),
    "together": Limits(pdfs=False),
    "ollama": Limits(images=frozenset((PNG, JPEG, WEBP)), image_urls=False, pdfs=False),
}
"""By provider; one that is not listed takes no attachments."""


_TAKES_ONE_IMAGE = "llama3.2-vision"
"""The model of Ollama's library of the architecture mllama, which takes one image (server/prompt.go)."""


def why_unfit(model: ModelConfig, attachments: Sequence[AttachmentFacts], text_bytes: int) -> str | None:
    """Return why a model's provider does not take these attachments beside a text of so many bytes; None if it does."""
    sent = [one for one in attachments if one.kind != "text"]
    if not sent:
        return None
    limits = LIMITS.get(model.provider)
    if limits is None:
        return "takes no attachments"
    if model.provider == "ollama" and model.api_name.partition(":")[0].endswith(_TAKES_ONE_IMAGE):
        limits = limits._replace(number=1, number_in_large=1)
    return next(_misses(limits, sent, text_bytes, large=(model.context_window or 0) >= LARGE_WINDOW), None)


def refusing(attachments: Sequence[AttachmentFacts], text_bytes: int) -> frozenset[tuple[str, bool]]:
    """Return the providers that do not take these attachments, each with whether for models with a large window."""
    sent = [one for one in attachments if one.kind != "text"]
    return frozenset(
        (provider, large)
        for provider, limits in LIMITS.items()
        for large in (False, True)
        if next(_misses(limits, sent, text_bytes, large=large), None)
    )


def base64_bytes(size_bytes: int) -> int:
    """Return the length of so many bytes in base64."""
    return -(-size_bytes // 3) * 4


def _misses(limits: Limits, sent: Sequence[AttachmentFacts], text_bytes: int, *, large: bool) -> Iterator[str]:
    images = [one for one in sent if one.kind == "image"]
    for one in images:
        yield from _image_misses(limits, one, len(images))
    pdfs = [one for one in sent if one.kind == "pdf"]
    yield from _pdf_misses(limits, pdfs, limits.pages_in_large if large else limits.pages)
    most = limits.number_in_large if large else limits.number
    if most is not None and len(images) > most:
        yield f"takes at most {most} image{'' if most == 1 else 's'}, not {len(images)}"
    total = text_bytes + sum(base64_bytes(one.size_bytes or 0) for one in sent)
    if limits.request_bytes is not None and total > limits.request_bytes:
        yield f"takes requests of at most {_mib(limits.request_bytes)}, not {_mib(total)}"


def _image_misses(limits: Limits, one: AttachmentFacts, number: int) -> Iterator[str]:
    if one.media_type not in limits.images:
        yield f"takes no {one.media_type} ({one.name})"
    if one.animated and one.media_type not in limits.animated:
        yield f"takes no animated images ({one.name})"
    if one.url and not limits.image_urls:
        yield f"does not fetch URLs: download {one.name} and attach the file"
    size = one.size_bytes or 0
    for most, sent_bytes in ((limits.image_bytes, size), (limits.image_base64_bytes, base64_bytes(size))):
        if most is not None and sent_bytes > most:
            form = " in base64" if sent_bytes != size else ""
            yield f"takes images of at most {_mib(most)}{form}, and {one.name} has {_mib(sent_bytes)}"
    width, height = one.width or 0, one.height or 0
    patches = -(-width // _PATCH_PIXELS) * -(-height // _PATCH_PIXELS)
    if limits.image_patches is not None and patches > limits.image_patches:
        yield f"takes images of at most {limits.image_patches:,} patches of 32x32, and {one.name} is {width}x{height}"
    side, condition = limits.image_pixels, ""
    if limits.many_images is not None and number > limits.many_images:
        side, condition = limits.many_images_pixels, f" where a request has over {limits.many_images} of them"
    if side is not None and max(width, height) > side:
        yield f"takes images of at most {side} pixels a side{condition}, and {one.name} is {width}x{height}"


def _pdf_misses(limits: Limits, pdfs: Sequence[AttachmentFacts], most_pages: int | None) -> Iterator[str]:
    for one in pdfs:
        if not limits.pdfs:
            yield f"takes no PDFs ({one.name})"
        if one.url and not limits.pdf_urls:
            yield f"does not fetch PDFs: download {one.name} and attach the file"
        if one.encrypted and not limits.encrypted:
            yield f"takes no encrypted PDF ({one.name})"
    size = sum(one.size_bytes or 0 for one in pdfs)
    if limits.pdf_bytes is not None and size > limits.pdf_bytes:
        yield f"takes PDFs of at most {_mib(limits.pdf_bytes)}, not {_mib(size)}"
    pages = sum(one.pages or 0 for one in pdfs)
    if most_pages is not None and pages > most_pages:
        yield f"takes at most {many(most_pages, 'page')} of PDF, not {pages:,}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.4g} MiB"

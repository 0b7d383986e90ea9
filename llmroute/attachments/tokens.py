"""The input tokens of attachments, by provider and model.  Pure.

The formulas are the providers' own (August 2026), corrected where recorded usage was higher: Mistral counts one token
more for each row of an image.  Where a formula is not published, the larger of those that may hold is used.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.types import AttachmentFacts, ModelConfig

UNKNOWN_PAGES: Final = 20
"""The expected pages of a PDF that only the provider fetches."""
MOST_PAGES: Final = 600
"""The most pages of such a PDF."""
OLLAMA_IMAGE_TOKENS: Final = 4_096
"""More than any open model makes of an image at its default resolution."""
_OPEN_MODEL_TOKENS: Final = 16_384


class AttachmentTokens(NamedTuple):
    """Input tokens of attachments: expected, and at most."""

    expected: int
    most: int


class _Side(NamedTuple):
    """The longest side in pixels that an image is scaled down to, and its size in patches."""

    pixels: int
    patch: int

    def patches(self, width: int, height: int) -> tuple[int, int]:
        """Return the columns and rows of patches; a side of an image is at least one."""
        scale = min(1.0, self.pixels / max(width, height))
        return ceil(round(width * scale / self.patch, 6)) or 1, ceil(round(height * scale / self.patch, 6)) or 1


class _PageTokens(NamedTuple):
    """Tokens of a page of a PDF: a page of text as recorded, and the upper bound."""

    expected: int
    most: int


class _Formula(NamedTuple):
    """Tokens of an image by its width and height, of one of unknown size, and of a page of a PDF."""

    image: Callable[[int, int], int]
    unknown: int
    page: _PageTokens


def _anthropic(side: int, most: int) -> _Formula:
    fit = _Side(side, 28)

    def tokens(width: int, height: int) -> int:
        columns, rows = fit.patches(width, height)
        return min(columns * rows, most)

    return _Formula(tokens, most, _PageTokens(2_700, 3_000 + most))


def _openai_patches(multiplier: float, budget: int) -> _Formula:
    fit = _Side(2_048, 32)

    def tokens(width: int, height: int) -> int:
        columns, rows = fit.patches(width, height)
        return ceil(min(columns * rows, budget) * multiplier)

    most = ceil(budget * multiplier)
    return _Formula(tokens, most, _PageTokens(1_500, 3_000 + most))


def _openai_tiles(base: int, tile: int) -> _Formula:
    def tokens(width: int, height: int) -> int:
        scale = min(1.0, 2_048 / max(width, height))
        scale *= min(1.0, 768 / (min(width, height) * scale))
        return base + tile * ceil(round(width * scale, 6) / 512) * ceil(round(height * scale, 6) / 512)

    # The longest image is 768 by 2048.
    most = base + tile * 8
    page = tokens(850, 1_100)
    return _Formula(tokens, most, _PageTokens(max(1_500, page), 3_000 + max(page, 1_105)))


def _mistral(side: int, patch: int) -> _Formula:
    fit = _Side(side, patch)

    def tokens(width: int, height: int) -> int:
        columns, rows = fit.patches(width, height)
        # A photograph may be turned by its metadata: rows and columns change places.
        return columns * rows + max(columns, rows)

    return _Formula(tokens, tokens(side, side), _PageTokens(1_000, 3_000))


def _open_model_tokens(width: int, height: int) -> int:
    tiles = min(2, max(height // 560, 1)) * min(2, max(width // 560, 1))
    patches = ceil(width / 28) * ceil(height / 28)
    return max(tiles * 1_601, min(patches, _OPEN_MODEL_TOKENS))


_OPEN_MODEL: Final = _Formula(_open_model_tokens, _OPEN_MODEL_TOKENS, _PageTokens(1_000, 3_000))
_OLLAMA: Final = _Formula(lambda _width, _height: OLLAMA_IMAGE_TOKENS, OLLAMA_IMAGE_TOKENS, _PageTokens(0, 0))
_HIGH_RESOLUTION: Final = _anthropic(2_576, 4_784)

_FORMULAS: Final = [
    (r"anthropic/claude-(3|haiku-4-5|sonnet-4-|opus-4-[0156](-|$)|opus-4$)", _anthropic(1_568, 1_568)),
    (r"anthropic/", _HIGH_RESOLUTION),
    (r"openai/gpt-4o-mini", _openai_tiles(2_833, 5_667)),
    (r"openai/gpt-4\.1-mini", _openai_patches(1.62, 6_144)),
    (r"openai/gpt-4\.1-nano", _openai_patches(2.46, 6_144)),
    (r"openai/gpt-4", _openai_tiles(85, 170)),
    (r"openai/gpt-5-mini", _openai_patches(1.2, 6_144)),
    (r"openai/gpt-5-nano", _openai_patches(1.5, 6_144)),
    (r"openai/gpt-5(\.1)?(-|$)", _openai_tiles(70, 140)),
    (r"openai/gpt-5\.2", _openai_patches(1.2, 6_144)),
    (r"openai/gpt-[5-9]", _openai_patches(1.2, 2_500)),
    (r"openai/o4-mini", _openai_patches(1.72, 6_144)),
    (r"openai/o[13]", _openai_tiles(75, 150)),
    (r"openai/", _openai_patches(2.46, 6_144)),
    (r"mistral/pixtral", _mistral(1_024, 16)),
    (r"mistral/(mistral|ministral|magistral|codestral|devstral)", _mistral(1_540, 28)),
    (r"ollama/", _OLLAMA),
    (r"", _OPEN_MODEL),
]


def attachment_tokens(model: ModelConfig, attachments: Iterable[AttachmentFacts]) -> AttachmentTokens:
    """Return the input tokens of attachments for a model; those of text are part of the prompt."""
    found = None
    expected = most = 0
    for one in attachments:
        if one.kind == "text":
            continue
        found = found or _formula_of(model)
        if one.kind == "image":
            known = one.width and one.height
            tokens = found.image(one.width or 1, one.height or 1) if known else found.unknown
            expected, most = expected + tokens, most + tokens
        else:
            expected += (one.pages or UNKNOWN_PAGES) * found.page.expected
            most += (one.pages or MOST_PAGES) * found.page.most
    return AttachmentTokens(expected, most)


def _formula_of(model: ModelConfig) -> _Formula:
    return next(formula for pattern, formula in _FORMULAS if re.match(pattern, model.name))

"""The limits of each provider, on both sides of each."""

from __future__ import annotations

import pytest

from llmroute.attachments.limits import LIMITS, MIB, refusing, why_unfit
from llmroute.types import AttachmentFacts, ModelConfig


def image(**changes: object) -> AttachmentFacts:
    fields: dict[str, object] = {"name": "a.png", "media_type": "image/png", "size_bytes": 9, "width": 9, "height": 9}
    return AttachmentFacts(**(fields | changes))  # type: ignore[arg-type]


def document(**changes: object) -> AttachmentFacts:
    fields: dict[str, object] = {"name": "b.pdf", "media_type": "application/pdf", "size_bytes": 9, "pages": 1}
    return AttachmentFacts(**(fields | changes))  # type: ignore[arg-type]


def model(provider: str, window: int = 200_000) -> ModelConfig:
    return ModelConfig(provider, "m", "m", context_window=window)


GIF = "image/gif"
CASES = [
    ("anthropic", [image(size_bytes=7_864_320)], [image(size_bytes=7_864_323)], "at most 10 MiB in base64"),
    ("anthropic", [image(width=8000)], [image(height=8001)], "at most 8000 pixels a side, and a.png is 9x8001"),
    ("anthropic", [image(width=2001)] * 20, [image(width=2001)] * 21, "a side where a request has over 20 of them"),
    ("anthropic", [image()] * 100, [image()] * 101, "at most 100 images, not 101"),
    ("anthropic", [document(pages=100)], [document(pages=60), document(pages=41)], "100 pages of PDF, not 101"),
    ("anthropic", [document()], [document(encrypted=True)], "no encrypted PDF"),
    ("anthropic", [image(media_type=GIF, animated=True)], [image(media_type="image/webp", animated=True)], "animated"),
    ("anthropic", [document(size_bytes=23 * MIB)], [document(size_bytes=24 * MIB)], "requests of at most 32 MiB"),
    ("anthropic", [image(url=True), document(url=True)], [image(media_type="image/bmp")], "takes no image/bmp"),
    ("openai", [image(media_type=GIF)], [image(media_type=GIF, animated=True)], "no animated images"),
    ("openai", [image(width=6000, height=5000)], [image(width=9000, height=9000)], "30,000 patches"),
    ("openai", [image(url=True)], [document(url=True)], "does not fetch PDFs: download b.pdf"),
    ("openai", [document(size_bytes=50 * MIB)], [document(size_bytes=30 * MIB)] * 2, "PDFs of at most 50 MiB"),
    ("openai", [image()] * 1500, [image()] * 1501, "at most 1500 images"),
    ("mistral", [image(size_bytes=10 * MIB)], [image(size_bytes=10 * MIB + 1)], "images of at most 10 MiB, and"),
    ("mistral", [image(width=10_000)], [image(width=10_001)], "10000 pixels"),
    ("mistral", [document(url=True)], [document(size_bytes=11 * MIB)], "PDFs of at most 10 MiB"),
    ("together", [image(url=True)], [image(media_type=GIF, animated=True)], "no animated images"),
    ("together", [image()], [document()], "takes no PDFs (b.pdf)"),
    ("ollama", [image()], [document()], "takes no PDFs (b.pdf)"),
    ("ollama", [image()], [image(url=True)], "does not fetch URLs: download a.png"),
    ("ollama", [image(media_type="image/webp")], [image(media_type=GIF)], "takes no image/gif"),
    ("builtin", [], [image()], "takes no attachments"),
]


@pytest.mark.parametrize(("provider", "fits", "unfit", "reason"), CASES)
def test_a_provider_takes_what_is_within_its_limits(
    provider: str, fits: list[AttachmentFacts], unfit: list[AttachmentFacts], reason: str
) -> None:
    assert why_unfit(model(provider), fits, 100) is None
    found = why_unfit(model(provider), unfit, 100)
    assert found is not None
    assert reason in found


def test_the_vision_model_of_llama_3_2_takes_one_image_at_ollama() -> None:
    vision = ModelConfig("ollama", "llama3.2-vision", "llama3.2-vision:11b", context_window=200_000)
    assert why_unfit(vision, [image()], 0) is None
    assert why_unfit(vision, [image(), image()], 0) == "takes at most 1 image, not 2"
    assert why_unfit(model("ollama"), [image(), image()], 0) is None


def test_a_large_window_takes_more() -> None:
    assert why_unfit(model("anthropic", 1_000_000), [image()] * 600, 0) is None
    assert why_unfit(model("anthropic", 1_000_000), [document(pages=601)], 0) is not None


def test_the_providers_that_refuse_are_those_whose_models_are_unfit() -> None:
    for sent in ([image(width=9_000)], [document(pages=300)], [image(url=True), document(url=True)], [image()]):
        expected = {
            (provider, large)
            for provider in LIMITS
            for large in (False, True)
            if why_unfit(model(provider, 1_000_000 if large else 9_999), sent, 9)
        }
        assert refusing(sent, 9) == expected
    assert ("anthropic", False) in refusing([document(pages=300)], 9)
    assert ("anthropic", True) not in refusing([document(pages=300)], 9)


def test_text_is_part_of_the_prompt_and_has_no_limits_of_its_own() -> None:
    text = AttachmentFacts("a.txt", "text/plain", 60 * MIB)
    assert why_unfit(model("builtin"), [text], 60 * MIB) is None
    assert why_unfit(model("anthropic"), [text, image()], 60 * MIB) is not None

"""The type and the measures of an attachment are told by its content; hostile content raises nothing else."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.attachments import pdf_pages
from llmroute.attachments.content_type import measured, of_url
from llmroute.attachments.image_headers import image_header
from llmroute.attachments.pdf_pages import pdf_facts
from llmroute.errors import RequestError
from tests.support.attached_files import gif, jpeg, pdf, png, webp

SIDES = st.integers(1, 16_000)


@given(SIDES, SIDES)
def test_the_size_of_each_image_format_is_read(width: int, height: int) -> None:
    images = {
        "image/png": png(width, height),
        "image/jpeg": jpeg(width, height),
        "image/gif": gif(width, height),
        "image/webp": webp(width, height),
    }
    for media_type, data in images.items():
        facts = measured(data, "a", None).facts
        assert (facts.media_type, facts.width, facts.height) == (media_type, width, height)
        assert facts.kind == "image"
    for form in ("lossless", "extended"):
        assert image_header(webp(width, height, form=form))[:2] == (width, height)  # type: ignore[index]


def test_padding_before_a_marker_is_passed_over_and_a_jpeg_of_nothing_else_is_damaged() -> None:
    whole = jpeg(640, 480)
    assert image_header(whole[:2] + b"\xff" * 1_000 + whole[2:]) == (640, 480, False)
    assert image_header(b"\xff\xd8\xff" + b"\xff" * 1_000) is None
    # Looks at a bounded number of markers, whatever the length of the file.
    assert image_header(b"\xff\xd8" + b"\xff\x00" * 600_000 + whole[2:]) is None


def test_metadata_before_the_frame_of_a_jpeg_does_not_hide_its_size() -> None:
    thumbnail = b"\xff\xe1" + (2 + 21).to_bytes(2, "big") + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01" + bytes(12)
    assert image_header(jpeg(640, 480, before=thumbnail)) == (640, 480, False)


def test_only_several_frames_are_an_animation() -> None:
    assert not measured(gif(), "a", None).facts.animated
    assert not measured(gif(comment=b", a comma in a comment,"), "a", None).facts.animated
    assert measured(gif(frames=2), "a", None).facts.animated
    assert measured(webp(form="extended", animated=True), "a", None).facts.animated
    assert not measured(webp(form="extended"), "a", None).facts.animated


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pages", [1, 2, 57])
def test_pages_are_counted_also_in_object_streams(pages: int, compressed: bool) -> None:
    facts = measured(pdf(pages, compressed=compressed), "a", None).facts
    assert (facts.media_type, facts.pages, facts.encrypted) == ("application/pdf", pages, False)


def test_the_largest_number_of_pages_counts_where_a_pdf_contradicts_itself() -> None:
    assert pdf_facts(pdf(3, count=1)).pages == 3
    assert pdf_facts(pdf(3, count=9)).pages == 9


def test_the_counts_of_outlines_and_the_bytes_of_streams_are_no_pages() -> None:
    outlines = b"9 0 obj\n<</Type/Outlines/Count 400>>\nendobj\n"
    content = b"8 0 obj\n<</Length 60>>\nstream\n<</Type/Pages/Count 70>> /Type/Page\nendstream\nendobj\n"
    assert pdf_facts(pdf(2, extra=outlines + content)).pages == 2


def test_pages_that_cannot_be_counted_are_estimated_by_size() -> None:
    assert pdf_facts(b"%PDF-1.7\n").pages == 1
    assert pdf_facts(b"%PDF-1.7\n" + b"x" * 20_480).pages == 10


def test_an_encrypted_pdf_says_so() -> None:
    assert pdf_facts(pdf(1, extra=b"trailer\n<</Encrypt 7 0 R>>\n")).encrypted


def test_text_is_utf_8_of_any_language() -> None:
    facts = measured("Grüße 🙂 <svg/>".encode(), "a.bin", None).facts
    assert (facts.media_type, facts.kind) == ("text/plain", "text")


@pytest.mark.parametrize(
    "text", ["A PDF begins with %PDF-1.7.", "GIF89a is what a GIF begins with", "RIFF---- WEBP and more of it"]
)
def test_text_that_names_the_signature_of_another_format_is_text(text: str) -> None:
    assert measured(text.encode(), "about.md", None).media_type == "text/plain"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"PK\x03\x04\0\0docx", "it is not a png"),
        ("Grüße".encode("latin-1"), "it is not UTF-8: byte 0xfc at 2"),
        (png()[:20], r"it is a damaged image \(image/png\)"),
        (b"\xff\xd8\xff\xd9", "it is a damaged image"),
        (gif()[:8], "it is a damaged image"),
        (webp()[:20], "it is a damaged image"),
        (png(0, 5), "it is a damaged image"),
    ],
)
def test_what_cannot_be_attached_is_refused_with_its_name_and_the_reason(data: bytes, problem: str) -> None:
    with pytest.raises(RequestError, match=rf"^the file cannot be attached: {problem}"):
        measured(data, "the\nfile", None)


def test_a_given_type_overrides_the_content() -> None:
    assert measured(b"%PDF- is text here", "a", "text/markdown").facts.kind == "text"
    assert measured(png(), "a", "image/JPG").facts.media_type == "image/jpeg"
    assert measured(b"\0\0\0", "a", "image/webp; x=1").facts.width is None
    for media_type in ("image/svg+xml", "image/heic", "text/", "", "docx"):
        if media_type:
            with pytest.raises(RequestError, match="is not one of image/png"):
                measured(png(), "a", media_type)


def test_the_type_of_a_url_is_its_ending_or_given() -> None:
    assert of_url("https://a.example/x/Y.PNG?sig=secret", None, None).facts.media_type == "image/png"
    assert of_url("https://a.example/x/y.pdf", None, None).facts.kind == "pdf"
    assert of_url("https://a.example/x", None, "image/png").facts.url
    assert "secret" not in of_url("https://a.example/x/Y.PNG?sig=secret", None, None).facts.name
    for url, problem in (
        ("https://a.example/x", "does not end in png"),
        ("https:///x.png", "not an http"),
        ("https://a.example/x y.png", "not an http"),
        ("https://[::1/x.png", "not an http"),
    ):
        with pytest.raises(RequestError, match=problem):
            of_url(url, None, None)
    with pytest.raises(RequestError, match="no provider fetches text"):
        of_url("https://a.example/x", None, "text/plain")


SIGNATURES = st.sampled_from([png()[:16], png(), jpeg(), b"\xff\xd8\xff", gif(), gif()[:6], webp(), webp()[:16]])


@given(SIGNATURES, st.binary(max_size=200))
def test_a_hostile_image_has_a_size_or_is_refused(signature: bytes, rest: bytes) -> None:
    header = image_header(signature + rest)
    assert header is None or (header.width > 0 and header.height > 0)


WORDS = b"<< >> obj /Type/Page /Type/Pages /Count 7 stream endstream /ObjStm /FlateDecode /Encrypt /Count 99999999999"
TOKENS = st.sampled_from([*WORDS.split(), b"stream\n", zlib.compress(b"<</Type/Page>>")])


@given(st.lists(TOKENS | st.binary(max_size=9), max_size=60))
def test_a_hostile_pdf_has_at_least_one_page(pieces: list[bytes]) -> None:
    assert pdf_facts(b"%PDF-1.7 " + b" ".join(pieces)).pages >= 1


def test_a_pdf_bomb_is_inflated_to_a_bound() -> None:
    bomb = zlib.compress(b"<</Type/Page>>" + bytes(200 * 2**20), 9)
    head = b"4 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\n"
    data = b"%PDF-1.7\n" + (head + bomb + b"\nendstream endobj\n") * 3
    inflated = [len(piece) for piece in pdf_pages._pieces(data)]
    assert sum(inflated) <= pdf_pages.MOST_INFLATED_BYTES + len(data)


@pytest.mark.parametrize("piece", [b"<<", b">>", b"stream ", b"/Type /Pages ", b"obj ", b"/Count 1 "])
def test_a_hostile_pdf_takes_a_bounded_time(piece: bytes) -> None:
    data = b"%PDF-1.7 " + piece * (16 * 2**20 // len(piece))
    began_s = time.process_time()
    assert pdf_facts(data).pages >= 1
    assert time.process_time() - began_s < 10


def test_a_gif_of_tiny_blocks_takes_a_bounded_time() -> None:
    began_s = time.process_time()
    data = gif()[:-3] + b"\x01\x00" * (8 * 2**20) + b"\0;"
    assert image_header(data) is not None
    assert time.process_time() - began_s < 10

from __future__ import annotations

import json
import time
import timeit
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.errors import BadOutputError
from llmroute.providers.wire.line_decoder import MAX_LINE_BYTES, LineDecoder
from llmroute.providers.wire.sse import ServerEvent, SSEDecoder


def decode(*pieces: bytes) -> list[ServerEvent]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


def data(*pieces: bytes) -> list[str]:
    return [event.data for event in decode(*pieces)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_of_the_three_line_ends_ends_a_line(end: bytes) -> None:
    assert data(end.join([b"data: a", b"", b"data: b", b"", b""])) == ["a", "b"]


def test_a_crlf_that_is_cut_in_two_is_one_line_end() -> None:
    assert data(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_one_space_after_the_colon_is_optional_and_only_one_is_dropped() -> None:
    assert data(b"data:a\n\ndata:  b\n\n") == ["a", " b"]


def test_data_lines_of_one_event_are_joined() -> None:
    assert data(b'data: {"a":\ndata: 1}\n\n') == ['{"a":\n1}']


def test_comments_and_unknown_fields_say_nothing() -> None:
    assert data(b": keep-alive\n\nid: 7\nretry: 10\nnonsense\ndata: a\n: again\n\n") == ["a"]


def test_an_event_without_data_is_none_and_does_not_name_the_next() -> None:
    assert decode(b"event: ping\n\ndata: a\n\n") == [ServerEvent("", "a")]


def test_an_event_has_its_name() -> None:
    assert decode(b"event: error\ndata: {}\n\n") == [ServerEvent("error", "{}")]


def test_a_byte_order_mark_is_not_part_of_the_first_field() -> None:
    assert data(b"\xef\xbb", b"\xbfdata: a\n\n") == ["a"]


def test_a_last_event_without_its_blank_line_is_kept() -> None:
    assert data(b"data: a\n\ndata: b") == ["a", "b"]
    assert data(b"data: a\n\ndata: b\n") == ["a", "b"]


@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x00"])
def test_no_other_character_ends_a_line(letter: str) -> None:
    assert data(f"data: a{letter}b\n\n".encode()) == [f"a{letter}b"]


def test_a_character_cut_in_two_is_whole_again() -> None:
    body = "data: 🙂é\n\n".encode()
    assert data(*(body[at : at + 1] for at in range(len(body)))) == ["🙂é"]


def test_bytes_that_are_no_utf8_are_replaced_and_the_rest_is_kept() -> None:
    assert data(b"data: a\xffb\n\n") == ["a\ufffdb"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=20))
def test_the_cuts_do_not_matter(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    assert decode(*pieces) == decode(body)


def test_a_line_of_a_megabyte_is_read_in_small_pieces_in_linear_time() -> None:
    body = b"data: " + b"x" * 2_000_000 + b"\n\n"
    started = time.process_time()
    pieces = [body[at : at + 64] for at in range(0, len(body), 64)]
    assert len(data(*pieces)[0]) == 2_000_000
    assert time.process_time() - started < 2


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = LineDecoder()
    piece = b"x" * 1_000_000
    for _ in range(MAX_LINE_BYTES // len(piece)):
        decoder.feed(piece)
    with pytest.raises(BadOutputError):
        decoder.feed(piece)


def test_an_event_without_end_is_refused_too() -> None:
    decoder = SSEDecoder()
    piece = (b"data: " + b"x" * 99_993 + b"\n") * 10
    for _ in range(MAX_LINE_BYTES // len(piece)):
        decoder.feed(piece)
    with pytest.raises(BadOutputError):
        decoder.feed(piece)


def test_many_lines_in_one_piece_are_no_long_line() -> None:
    piece = b"data: " + b"x" * 1_000_000 + b"\n\n"
    assert len(decode(piece * 20)) == 20


def test_decoding_costs_no_more_than_a_few_times_reading_the_json() -> None:
    events = [json.dumps({"choices": [{"index": 0, "delta": {"content": "word"}}], "id": "x" * 40})] * 20_000
    body = "".join(f"data: {event}\n\n" for event in events).encode()

    def read_json() -> None:
        for event in events:
            json.loads(event)

    def decode_events() -> None:
        assert len(data(*(body[at : at + 4096] for at in range(0, len(body), 4096)))) == 20_000

    # The best of three: garbage of tests before may be collected meanwhile.
    reading, decoding = (min(timeit.repeat(one, number=1, repeat=3)) for one in (read_json, decode_events))
    assert decoding < 5 * reading + 0.2

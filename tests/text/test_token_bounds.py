"""The bounds of a text's tokens hold for tokenizers of every kind, and cost next to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.text.token_bounds import bounds, size_in_bytes


@given(st.text())
def test_the_bounds_are_in_order_and_within_a_token_for_each_byte(text: str) -> None:
    found = bounds([text])
    assert 0 <= found.most <= size_in_bytes([text])
    assert found.least <= size_in_bytes([text])


def test_texts_are_added_up() -> None:
    one, other = bounds(["to be"]), bounds(["1, 2, 3"])
    assert bounds(["to be", "1, 2, 3"]) == (one.least + other.least, one.most + other.most)
    assert bounds([]) == bounds([""]) == (0, 0)


# Counted with the vocabularies of Mistral 7B, Qwen, DeepSeek and cl100k: the fewest and the most tokens.
COUNTED = {
    "a ": (501, 501),
    "word ": (501, 501),
    "It was the best of times, it was the worst of times. ": (7001, 7001),
    "3.14,27.18\n": (4000, 5501),
    "for i in range(10):\n    print(i)\n": (5500, 7500),
    "\u4eba\u4eba\u751f\u800c\u81ea\u7531": (2000, 3001),
}


@pytest.mark.parametrize("text", COUNTED)
def test_what_tokenizers_make_of_a_text_is_within_the_bounds(text: str) -> None:
    found = bounds([text * 500])
    fewest, most = COUNTED[text]
    assert fewest / 5 < found.least <= fewest
    # One marks the beginning.
    assert most <= found.most + 1 <= 3 * most

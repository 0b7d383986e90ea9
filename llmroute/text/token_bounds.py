"""Bounds for the tokens of a text before a tokenizer has seen it, by the classes of its characters.  Pure.

The weights were fitted on 45 kinds of text (tables of numbers, logs, source code, base64, prose in 20 languages, emoji)
and the vocabularies of Mistral 7B (Llama 2's kind), Qwen, DeepSeek, SmolLM2 and cl100k (Llama 3's kind).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES_PER_TOKEN = 4
"""The average of English text in common tokenizers; none makes more than one token of a byte."""
TEMPLATE_TOKENS = 256
"""An upper bound on the tokens that a chat template adds: the date, the model's identity, the reasoning effort."""
TOKENS_PER_MESSAGE = 16
"""An upper bound on the tokens of the role and the separators of a message."""

_CONTINUATION = bytes(range(0x80, 0xC0))
_VOWELS = b"aeiouAEIOU"
# The share of vowels among letters in the words of European languages, and in letters drawn by chance (base64).
_VOWELS_OF_WORDS = 0.3
_VOWELS_BY_CHANCE = 0.2
_LEAST_LETTERS = 12
_LEAST_DIGITS = 3


class Bounds(NamedTuple):
    """The tokens of a text: `least` with the most economical tokenizer in use, `most` with the most wasteful.

    A byte-level tokenizer may still make more than `most`, up to a token for each byte.
    """

    least: int
    most: int


def bounds(texts: Iterable[str]) -> Bounds:
    """Return the bounds of all texts together, without the tokens of a chat template."""
    found = [_of(text) for text in texts]
    return Bounds(sum(one.least for one in found), sum(one.most for one in found))


def size_in_bytes(texts: Iterable[str]) -> int:
    """Return the bytes of the texts: no byte-level tokenizer makes more tokens than this."""
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)


def most_around(messages: int) -> int:
    """Return the tokens that are in a prompt beside its texts, at most."""
    return TOKENS_PER_MESSAGE * messages + TEMPLATE_TOKENS


def _of(text: str) -> Bounds:
    data = text.encode("utf-8", "replace")
    shape = data.translate(_CLASSES, _CONTINUATION)
    upper = shape.count(b"A")
    shape = shape.replace(b"A", b"a")
    letters, digits, symbols = shape.count(b"a"), shape.count(b"0"), shape.count(b".")
    words = _runs(shape.replace(b"2", b"a").replace(b"g", b"a"), b"a")
    least = (
        max(words, letters // _LEAST_LETTERS)
        + max(_runs(shape, b"0"), digits // _LEAST_DIGITS)
        # Signs and new lines before a number belong to no word.
        + shape.count(b".0")
        + shape.count(b"\n0")
        + sum(shape.count(mark) * each for mark, (each, _) in _BEYOND_ASCII.items())
    )
    vowels = len(data) - len(data.translate(None, _VOWELS))
    most = (
        max(words, _letters_at_most(letters, upper, digits + 2 * shape.count(b"2"), vowels))
        + digits
        + symbols
        + shape.count(b"\n")
        # A single space before a word is the word's; others stand by themselves, long runs in pieces.
        + _runs(shape, b" ")
        - shape.count(b" a")
        + shape.count(b"  a")
        + shape.count(b" ") // 15
        + sum(shape.count(mark) * each for mark, (_, each) in _BEYOND_ASCII.items())
    )
    return Bounds(int(least), min(int(most) + 1, len(data)))


def _letters_at_most(letters: int, upper: int, breaks: int, vowels: int) -> float:
    """Letters of words come in pieces of three or so; those of no word, or among digits or marked letters, do not."""
    if not letters:
        return 0.0
    span = _VOWELS_OF_WORDS - _VOWELS_BY_CHANCE
    wordlike = min(max((vowels / letters - _VOWELS_BY_CHANCE) / span, 0.0), 1.0)
    sense = wordlike * max(1 - breaks / letters, 0.0)
    lower = letters - upper
    return lower * (0.75 - 0.37 * sense) + upper * (0.85 - 0.3 * sense)


def _runs(shape: bytes, mark: bytes) -> int:
    """Return how many runs of a class there are."""
    return sum(shape.count(other + mark) for other in _MARKS if other != mark) + shape.startswith(mark)


def _classes() -> bytes:
    table = bytearray(b"." * 256)
    table[ord("0") : ord("9") + 1] = b"0" * 10
    table[ord("a") : ord("z") + 1] = b"a" * 26
    table[ord("A") : ord("Z") + 1] = b"A" * 26
    table[ord(" ")] = table[ord("\t")] = ord(" ")
    table[ord("\n")] = table[ord("\r")] = ord("\n")
    table[0xC0:0xE0] = b"2" * 32  # the first bytes of two: Latin with marks, Greek, Cyrillic, Hebrew, Arabic
    table[0xE0] = ord("i")  # of three: scripts of India, Thai
    table[0xE1] = ord("g")  # Georgian, Ethiopic, Khmer; the rest of Latin and Greek
    table[0xE2] = ord("r")  # signs of mathematics, arrows, boxes
    table[0xE3:0xEA] = b"c" * 7  # Chinese, Japanese
    table[0xEA:0xEE] = b"k" * 4  # Korean
    table[0xEE:0xF0] = b"r" * 2  # private use, forms of letters
    table[0xF0:] = b"e" * 16  # of four: emoji, rare characters
    return bytes(table)


_CLASSES = _classes()
_BEYOND_ASCII = {
    b"2": (0.1, 1.8),
    b"g": (0.0, 3.0),
    b"i": (0.2, 2.0),
    b"r": (0.05, 3.0),
    b"c": (0.3, 2.0),
    b"k": (0.25, 3.0),
    b"e": (0.25, 4.0),
}
"""Each class of characters beyond ASCII: the least and the most tokens of one character."""
_MARKS = (b"a", b"0", b".", b" ", b"\n", *_BEYOND_ASCII)

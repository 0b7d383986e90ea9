"""Separates thinking between <think> and </think> at the start of an answer from the answer."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags:
    """Splits a text that arrives in parts; the tag counts only at its very beginning."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def split(self, piece: str) -> tuple[str, str]:
        """Return the text and the thinking that `piece` completes; a possible part of a tag is held back."""
        if self._state == "answer":
            return piece, ""
        piece, self._held = self._held + piece, ""
        if self._state == "start":
            begun = piece.lstrip()
            if len(begun) < len(OPEN) and OPEN.startswith(begun):
                self._held = piece
                return "", ""
            if not begun.startswith(OPEN):
                self._state = "answer"
                return piece, ""
            self._state, piece = "thinking", begun.removeprefix(OPEN)
        return self._think(piece) if self._state == "thinking" else self._begin(piece)

    def rest(self) -> tuple[str, str]:
        """Return the held text at the end of the stream."""
        return ("", self._held) if self._state == "thinking" else (self._held, "")

    def _think(self, piece: str) -> tuple[str, str]:
        thinking, closed, after = piece.partition(CLOSE)
        if closed:
            self._state = "gap"
            return self._begin(after)[0], thinking
        held = next((size for size in range(len(CLOSE) - 1, 0, -1) if piece.endswith(CLOSE[:size])), 0)
        self._held = piece[len(piece) - held :]
        return "", piece[: len(piece) - held]

    def _begin(self, piece: str) -> tuple[str, str]:
        text = piece.lstrip()
        if text:
            self._state = "answer"
        return text, ""

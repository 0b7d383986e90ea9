"""Tells thinking that a model wrote in front of its answer, between <think> and </think>, from the answer."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags:
    """Splits a text in pieces; only at its very beginning does the tag mean thinking."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def split(self, piece: str) -> tuple[str, str]:
        """Return the text and the thinking that `piece` completes; what may be part of a tag is held back."""
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
        """Return what is held back as what it is if nothing comes any more."""
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

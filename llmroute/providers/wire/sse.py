"""Decodes server-sent events by the WHATWG standard, incrementally."""

from __future__ import annotations

from typing import NamedTuple

from llmroute.errors import BadOutputError
from llmroute.providers.wire.line_decoder import MAX_LINE_BYTES, LineDecoder


class ServerEvent(NamedTuple):
    """One event: its name, where it has one, and its data lines joined."""

    event: str
    data: str


class SSEDecoder:
    """Returns the events that each part of a stream completes."""

    def __init__(self) -> None:
        self._lines = LineDecoder()
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that `data` completes.

        Raises:
            BadOutputError: a line or an event is longer than 16 MiB.
        """
        return self._read(self._lines.feed(data))

    def finish(self) -> list[ServerEvent]:
        """Return the last event, if the stream ended without its blank line.

        The standard would drop it, but some servers omit the last blank line.
        """
        return self._read([self._lines.finish(), ""])

    def _read(self, lines: list[str]) -> list[ServerEvent]:
        events = []
        for line in lines:
            if line:
                self._take(line)
                continue
            if self._data:
                events.append(ServerEvent(self._event, "\n".join(self._data)))
                self._data, self._size = [], 0
            self._event = ""
        return events

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        if field == "data":
            value = value.removeprefix(" ")
            self._size += len(value) + 1
            if self._size > MAX_LINE_BYTES:
                raise BadOutputError("an event of the stream is longer than 16 MiB")
            self._data.append(value)
        elif field == "event":
            self._event = value.removeprefix(" ")

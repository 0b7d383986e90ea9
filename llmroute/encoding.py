"""Decode external text: UTF-8 or a named encoding; invalid bytes are errors, never replaced."""

from __future__ import annotations

import codecs
import io
import os
from typing import IO, Any, Final

from llmroute.errors import RequestError
from llmroute.text.option_text import OptionText, Remedy

PIECE_BYTES: Final = 64 * 1024
HINT: Final = OptionText(Remedy("encoding"), " says how it is encoded: latin-1, cp1252, utf-16 ...")
_WIDE: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def known_encoding(name: str | None) -> str | None:
    """Return the name of an encoding of text as Python has it; None, for UTF-8, where none is given.

    Raises:
        RequestError: there is none of that name.
    """
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        "".encode(name)  # those that are not of text refuse
    except (LookupError, ValueError) as error:
        message = OptionText(Remedy("encoding"), f": {name!r} is no encoding of text")
        raise RequestError(message, hint="utf-8, latin-1, cp1252 ...") from error
    return None if found.name in ("utf-8", "utf-8-sig") else found.name


def decoded(data: bytes, encoding: str | None, place: str) -> str:
    """Return bytes as text, without the mark of UTF-8 before it.

    Raises:
        RequestError: they are not in that encoding (UTF-8 where it is None), or no text at all; `place` is named.
    """
    if encoding is None:
        check_beginning(data, place)
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeError as error:
        raise RequestError(f"{place} is not {_named(encoding)}: {_reason(error)}", hint=HINT) from error
    if "\0" in text:
        raise _binary(place)
    return text.removeprefix("\ufeff")


def decoded_argument(text: str, encoding: str | None, place: str) -> str:
    """Return an argument of the command line, whose bytes Python has kept where they were not UTF-8.

    Raises:
        RequestError: as `decoded`.
    """
    return decoded(os.fsencode(text), encoding, place) if any("\udc80" <= c <= "\udcff" for c in text) else text


def check_beginning(data: bytes, place: str) -> None:
    """Check that the first bytes of an input may be UTF-8; a character may be cut at their end.

    Raises:
        RequestError: they are binary, or of an encoding that a mark before them names.
    """
    for mark, name in _WIDE.items():
        if data.startswith(mark):
            problem = f"{place} is {name.upper()}, as the mark at its beginning says"
            raise RequestError(problem, hint=OptionText(Remedy("encoding"), f" {name} reads it"))
    if b"\0" in data:
        raise _binary(place)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError as error:
        raise RequestError(f"{place} is not UTF-8: {_reason(error)}", hint=HINT) from error


def check_whole(file: IO[bytes], encoding: str | None, place: str) -> None:
    """Read a file to its end and go back to where it was.

    Raises:
        RequestError: it is not text in that encoding (UTF-8 where it is None); the line is named.
        OSError: it cannot be read.
    """
    begin = file.tell()
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")()
    line = 1
    piece = file.read(PIECE_BYTES)
    if encoding is None and piece.startswith(tuple(_WIDE)):
        check_beginning(piece, place)
    while True:
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeError as error:
            line += error.object.count(b"\n", 0, error.start) if isinstance(error, UnicodeDecodeError) else 0
            raise RequestError(
                f"{place}: line {line} is not {_named(encoding)}: {_reason(error)}", hint=HINT
            ) from error
        if "\0" in text:
            raise _binary(place)
        line += text.count("\n")
        if not piece:
            break
        piece = file.read(PIECE_BYTES)
    file.seek(begin)


def as_utf8(file: IO[bytes], encoding: str | None) -> IO[bytes]:
    """Return a file whose bytes are UTF-8, whatever the encoding of another.

    Its `read` raises a RequestError where that one is not in the encoding.
    """
    return file if encoding is None else io.BufferedReader(_Transcoded(file, encoding), PIECE_BYTES)


class _Transcoded(io.RawIOBase):
    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._read = getattr(file, "read1", file.read)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)
        while not self._ready and not self._ended:
            data = self._read(PIECE_BYTES)
            self._ended = not data
            try:
                self._ready = self._decoder.decode(data, final=self._ended).encode()
            except UnicodeError as error:
                raise RequestError(f"the input is not {_named(self._encoding)}: {_reason(error)}", hint=HINT) from error
        piece, self._ready = self._ready[: len(room)], self._ready[len(room) :]
        room[: len(piece)] = piece
        return len(piece)


def _binary(place: str) -> RequestError:
    return RequestError(f"{place} is not text: it holds zero bytes", hint=HINT)


def _named(encoding: str | None) -> str:
    return "UTF-8" if encoding is None else encoding


def _reason(error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x}: {error.reason}"
    return str(error)

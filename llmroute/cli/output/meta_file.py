"""The --meta file, which is none of the other files of a command."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from llmroute.cli.errors import say
from llmroute.errors import RequestError
from llmroute.files import PRIVATE, cannot_write, is_same_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.config import Config

NamedFile: TypeAlias = tuple[str, str | Path]
"""A file of a command, by the flag that names it."""
_STREAMS = ("stdin", "stdout", "stderr")


def open_meta(config: Config, path: Path, files: Iterable[NamedFile]) -> TextIO:
    """Open the --meta file before the request, so that a wrong path costs nothing.

    Raises:
        RequestError: it is another file of the command or of llmroute, or no possible path.
        OutputError: it cannot be written.
    """
    from llmroute.service.own_files import require_other_file

    require_other_file(config, path)
    require_no_other_use(path, files)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    except OSError as error:
        raise cannot_write(f"--meta: {path}", error) from error
    # Bytes of the command line that are not UTF-8 are surrogates here; JSON escapes them.
    return open(fd, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123 (a descriptor)


def require_no_other_use(path: Path, files: Iterable[NamedFile]) -> None:
    """Check that --meta replaces neither the file of a standard stream nor a file that the command reads or writes too.

    Raises:
        RequestError: it does, also through a link.
    """
    uses = [flag for flag, file in files if is_same_file(path, Path(file))]
    uses += [_STREAMS[number] for number in range(len(_STREAMS)) if _is_stream(path, number)]
    if uses:
        raise RequestError(f"--meta: {path} is also the file of {uses[0]}", hint="name another file")


def _is_stream(path: Path, number: int) -> bool:
    """Whether a path names the regular file behind a standard stream; pipes and terminals are replaced by nothing."""
    try:
        stream = os.fstat(number)
        return stat.S_ISREG(stream.st_mode) and os.path.samestat(stream, path.stat())
    except OSError:
        return False


def write_meta(path: Path, meta: TextIO, text: str) -> None:
    """Write the --meta file and close it; a failure is a note, since the response is on stdout."""
    try:
        with meta:
            meta.write(text)
    except OSError as error:
        say(f"--meta: {path} could not be written: {error.strerror or error}")

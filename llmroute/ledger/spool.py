"""The spool: rows that the ledger could not take, kept beside it until a later run takes them in.

Lines of JSON, appended under a lock and synced.  A row is taken in by its key, so that a crash between the commit and
the removal of the file doubles nothing.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute.files import is_at, locked, unlock
from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator

# Outlives a reboot, and is seldom on the disk that is full or the directory that is read-only.
ELSEWHERE = Path("/var/tmp")  # noqa: S108 (in a folder of our own, whose owner and mode are checked)
_LOCK_S = 0.25
_NEEDED = ("request_id", "attempt", "started_ms", "provider", "model", "streaming", "status", "usage_source")


def places(ledger: Path, elsewhere: Path = ELSEWHERE) -> list[Path]:
    """Return where rows of this ledger may be kept: beside it, and elsewhere when its directory takes nothing."""
    beside = ledger.with_name(f"{ledger.name}.spool")
    if not hasattr(os, "getuid"):
        return [beside]
    from hashlib import sha256

    name = sha256(os.fsencode(ledger.absolute())).hexdigest()[:24]
    return [beside, elsewhere / f"llmroute-{os.getuid()}" / f"{name}.spool"]


def keep(row: AttemptRow, ledger: Path, elsewhere: Path = ELSEWHERE) -> Path:
    """Append a row to the spool and return the file it is in.

    Raises:
        OSError: no place takes it.
    """
    first: OSError | None = None
    for place in places(ledger, elsewhere):
        try:
            _make_room(place, beside=ledger.parent)
            _append(place, line(row) + b"\n")
        except OSError as error:
            first = first or error
        else:
            return place
    assert first is not None
    raise first


def line(row: AttemptRow) -> bytes:
    """Return a row as its line, without the newline."""
    return json.dumps(asdict(row), separators=(",", ":")).encode()


def told(row: AttemptRow) -> str:
    """Return the row's figures in words, for when they can be kept nowhere."""
    cost = "an unknown cost" if row.cost_picousd is None else f"${row.cost_picousd / PICO_PER_USD:.6f}"
    return f"{row.provider}/{row.model}, {row.status}, {row.input_tokens} in, {row.output_tokens} out, {cost}"


def waiting(ledger: Path, elsewhere: Path = ELSEWHERE) -> list[Path]:
    """Return the spool files that hold something; what others have put elsewhere is none of ours."""
    return [
        place
        for place in places(ledger, elsewhere)
        if _holds(place) and (place.parent == ledger.parent or _ours_alone(place.parent))
    ]


def _holds(place: Path) -> bool:
    try:
        return place.stat().st_size > 0
    except OSError:
        return False


def _ours_alone(folder: Path) -> bool:
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not stat.S_IMODE(state.st_mode) & 0o077


@contextmanager
def taken(place: Path) -> Iterator[tuple[list[AttemptRow], list[bytes]]]:
    """Lend what a spool file holds, rows and lines that are none; it is removed when the block ends without an error.

    No process appends meanwhile.  Lines that are no rows are kept in a file of their own.
    """
    try:
        fd = os.open(place, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        yield [], []
        return
    try:
        _lock(fd, place)
        if not is_at(fd, place):
            # Somebody took it in while this process waited.
            yield [], []
            return
        rows, strange = _read(fd)
        yield rows, strange
        if strange:
            for text in strange:
                _append(bad(place), text + b"\n")
        _remove(place, fd)
    finally:
        os.close(fd)


def _remove(place: Path, fd: int) -> None:
    try:
        place.unlink()
    except OSError:
        # The directory lets nothing go; what stays behind is taken in again, and changes nothing.
        with suppress(OSError):
            os.ftruncate(fd, 0)


def bad(place: Path) -> Path:
    """Return the file for lines of a spool that are no rows, half a line of a crash for one."""
    return place.with_name(f"{place.name}.bad")


def _read(fd: int) -> tuple[list[AttemptRow], list[bytes]]:
    with open(os.dup(fd), "rb") as file:  # noqa: PTH123 (a descriptor)
        lines = file.read().split(b"\n")
    rows: list[AttemptRow] = []
    strange: list[bytes] = []
    for text in filter(None, lines):
        row = _row(text)
        if row is None:
            strange.append(text)
        else:
            rows.append(row)
    return rows, strange


def _row(text: bytes) -> AttemptRow | None:
    try:
        told: Any = json.loads(text)
        known = {name: told[name] for name in COLUMNS if name in told}
        return AttemptRow(**known) if all(known[name] is not None for name in _NEEDED) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _make_room(place: Path, beside: Path) -> None:
    """Make the folder of a spool file; one outside the ledger's must be ours alone."""
    folder = place.parent
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=folder == beside)
    if folder != beside and not _ours_alone(folder):
        raise PermissionError(1, "is not a directory of ours alone", str(folder))


def _append(place: Path, data: bytes) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        fd = os.open(place, flags, 0o600)
        try:
            _lock(fd, place)
            if not is_at(fd, place):
                continue
            size = os.fstat(fd).st_size
            whole = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
            try:
                _write(fd, data if whole else b"\n" + data)
            except OSError:
                os.ftruncate(fd, size)
                raise
            # The disk is waited for without the lock: a row that is taken in meanwhile is in the ledger.
            unlock(fd)
            os.fsync(fd)
            return
        finally:
            os.close(fd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _lock(fd: int, place: Path) -> None:
    """Wait for the lock of the file, but not for long: the process that holds it is soon done, or was stopped.

    Raises:
        BlockingIOError: it still holds it.
    """
    if not locked(fd, _LOCK_S):
        raise BlockingIOError(errno.EWOULDBLOCK, "another process keeps it locked", str(place))

"""The spool: rows that the ledger could not take, in a file beside it until a later run adds them (`LedgerPort.tend`).

Rows are lines of JSON, appended under a lock and synced.  They are added by their key, so that a crash between the
commit and the removal of the lines duplicates nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.files import is_at, locked, unlock
from llmroute.ledger.spool.rows import SpooledRow, parsed, row_of
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.ledger.attempt_row import AttemptRow

# Survives a reboot, and is seldom on a full or read-only disk.
ELSEWHERE = Path("/var/tmp")  # noqa: S108 (in a folder of our own, whose owner and mode are checked)
_LOCK_S = 0.25
ROWS_AT_ONCE: Final = 250
"""The most rows that are added in one transaction: others wait for the ledger meanwhile."""
_BLOCK_BYTES: Final = 1 << 16
_LONGEST_LINE_BYTES: Final = 1 << 20


class TakenIn(NamedTuple):
    """The numbers of calls of a spool that were added, and of lines that are no rows and are kept beside it."""

    calls: int
    invalid: int


def places(ledger: Path, elsewhere: Path = ELSEWHERE) -> list[Path]:
    """Return the spool files of a ledger: beside it, and elsewhere for when its directory is not writable."""
    beside = ledger.with_name(f"{ledger.name}.spool")
    if not hasattr(os, "getuid"):
        return [beside]
    from hashlib import sha256

    name = sha256(os.fsencode(ledger.absolute())).hexdigest()[:24]
    return [beside, elsewhere / f"llmroute-{os.getuid()}" / f"{name}.spool"]


def keep(
    row: AttemptRow,
    ledger: Path,
    elsewhere: Path = ELSEWHERE,
    *,
    complete_at_effort: str | None = None,
    begun: bool = False,
) -> Path:
    """Append a row to the spool and return the file it is in; `complete_at_effort` and `begun` as of a `SpooledRow`.

    Raises:
        OSError: no file takes it.
    """
    first: OSError | None = None
    for place in places(ledger, elsewhere):
        try:
            make_room(place, beside=ledger.parent)
            _append(place, SpooledRow(row, complete_at_effort, begun).line() + b"\n")
        except OSError as error:
            first = first or error
        else:
            return place
    assert first is not None
    raise first


def described(row: AttemptRow) -> str:
    """Describe a row for a warning, where no file takes it."""
    cost = "an unknown cost" if row.cost_picousd is None else f"${row.cost_picousd / PICO_PER_USD:.6f}"
    return f"{row.provider}/{row.model}, {row.status}, {row.input_tokens} in, {row.output_tokens} out, {cost}"


def waiting(ledger: Path, elsewhere: Path = ELSEWHERE) -> list[Path]:
    """Return the spool files that hold rows."""
    return [place for place in places(ledger, elsewhere) if waits(place, ledger)]


def waits(place: Path, ledger: Path) -> bool:
    """Whether a spool file holds rows; a folder that is not that of the ledger must belong to this user alone."""
    try:
        holds = place.stat().st_size > 0
    except OSError:
        return False
    return holds and (place.parent == ledger.parent or is_ours_alone(place.parent))


def notes(ledger: Path) -> tuple[str, ...]:
    """Return the notes of a check on the spool files of a ledger."""
    waits = [f"rows wait in {place} for the next run" for place in waiting(ledger)]
    kept = [bad(place) for place in places(ledger) if bad(place).exists()]
    return (*waits, *(f"lines that are no rows are kept in {place}" for place in kept))


def count(ledger: Path) -> int:
    """Return how many lines wait, of those that can be read."""
    lines = 0
    for place in waiting(ledger):
        with suppress(OSError):
            lines += place.read_bytes().count(b"\n")
    return lines


def is_ours_alone(folder: Path) -> bool:
    """Whether a folder, and no link to one, belongs to this user and no other may enter it."""
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not stat.S_IMODE(state.st_mode) & 0o077


def has_rows(place: Path) -> bool:
    """Whether any line of a file is a row, without which it is no spool; False too where there is no file.

    Raises:
        BlockingIOError: another process keeps it locked.
        OSError: it cannot be read.
    """
    with _locked(place) as fd:
        if fd is None:
            return False
        with open(fd, "rb", closefd=False) as file:
            return any(row_of(line) is not None for line in iter(partial(file.readline, _LONGEST_LINE_BYTES), b""))


@contextmanager
def taken(place: Path) -> Iterator[tuple[list[SpooledRow], list[bytes]]]:
    """Yield the last ROWS_AT_ONCE rows of a spool file and the invalid lines among them.

    They are removed when the block ends without an error, with the file if it had no more.  It stays locked in the
    block.  Invalid lines are moved to a file of their own.
    """
    with _locked(place) as fd:
        if fd is None:
            yield [], []
            return
        start, lines = _last_lines(fd)
        rows, invalid = parsed(lines)
        yield rows, invalid
        if invalid:
            for text in invalid:
                _append(bad(place), text + b"\n")
        if start:
            os.ftruncate(fd, start)
        else:
            _remove(place, fd)


@contextmanager
def _locked(place: Path) -> Iterator[int | None]:
    """Yield the descriptor of a spool file, locked; None where there is none, or another process added it meanwhile."""
    try:
        fd = os.open(place, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        yield None
        return
    try:
        _lock(fd, place)
        yield fd if is_at(fd, place) else None
    finally:
        os.close(fd)


def _remove(place: Path, fd: int) -> None:
    try:
        place.unlink()
    except OSError:
        # The directory is not writable; rows that stay behind are added again, which changes nothing.
        with suppress(OSError):
            os.ftruncate(fd, 0)


def bad(place: Path) -> Path:
    """Return the file for invalid lines of a spool, such as one cut short by a crash."""
    return place.with_name(f"{place.name}.bad")


def _last_lines(fd: int) -> tuple[int, list[bytes]]:
    """Return where the last ROWS_AT_ONCE lines of a file begin, and the lines."""
    start, data = os.fstat(fd).st_size, b""
    while start and data.count(b"\n") <= ROWS_AT_ONCE:
        size = min(start, _BLOCK_BYTES)
        start -= size
        data = os.pread(fd, size, start) + data
    # The last of them is empty, or cut short by a crash.
    lines = data.split(b"\n")[-ROWS_AT_ONCE - 1 :]
    return start + len(data) - len(b"\n".join(lines)), lines


def make_room(place: Path, beside: Path) -> None:
    """Create the folder of a spool file; one elsewhere must belong to this user alone."""
    folder = place.parent
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=folder == beside)
    if folder != beside and not is_ours_alone(folder):
        raise PermissionError(1, "is not a private directory of this user", str(folder))


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
            # Sync without the lock: a row that is added to the ledger meanwhile is safe there.
            unlock(fd)
            os.fsync(fd)
            return
        finally:
            os.close(fd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _lock(fd: int, place: Path) -> None:
    """Wait shortly for the lock of the file: the process that holds it is soon done, or was stopped.

    Raises:
        BlockingIOError: another process still holds it.
    """
    if not locked(fd, _LOCK_S):
        raise BlockingIOError(errno.EWOULDBLOCK, "another process keeps it locked", str(place))

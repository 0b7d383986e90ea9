"""Private copies of a ledger, damaged or not, to rehearse a repair."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from llmroute.ledger import spool
from llmroute.ledger.sqlite.errors import translated
from llmroute.ledger.sqlite.maintenance.create import beside, unwritten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.ledger.lock_timeout import LockTimeout

_PART_BYTES = 1 << 20


@contextmanager
def copied(path: Path, patience: LockTimeout) -> Iterator[Path]:
    """Yield a copy with its log and its spool, in a folder that is removed at the end.

    Raises:
        LedgerError: the disk is full, or others keep the ledger locked.
    """
    with translated(path), TemporaryDirectory(prefix="llmroute-") as folder:
        copy = Path(folder) / path.name
        if path.exists():
            with unwritten(path, patience) as fd:
                _copy(fd, copy)
                log = beside(path)[0]
                if log.exists():
                    shutil.copyfile(log, beside(copy)[0])
        for place in spool.waiting(path)[:1]:
            shutil.copyfile(place, spool.places(copy)[0])
        yield copy


def _copy(fd: int, target: Path) -> None:
    """Copy an open file without opening it again, for to close that would drop the locks of this process."""
    with target.open("wb") as file:
        while part := os.pread(fd, _PART_BYTES, file.tell()):
            file.write(part)

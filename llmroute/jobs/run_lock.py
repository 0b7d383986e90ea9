"""The lock of a named run: two calls at once would submit its lines twice."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.files import open_locked
from llmroute.jobs.private_file import writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLOSING_S = 10.0
"""How long an earlier call that is being closed is waited for."""
_LOOK_AGAIN_S = 0.05


@asynccontextmanager
async def run_locked(folder: Path, name: str) -> AsyncIterator[None]:
    """Keep the run of a name for one call, by a lock in a folder.

    Raises:
        RequestError: another call has it.
        OutputError: the file of the lock cannot be created.
    """
    path = folder / f"{sha256(name.encode()).hexdigest()[:32]}.lock"
    loop = asyncio.get_running_loop()
    until_s = loop.time() + CLOSING_S
    while (fd := _locked(path)) is None:
        if loop.time() > until_s:
            raise RequestError("another call waits for the batch jobs of these requests", hint="give it another name")
        await asyncio.sleep(_LOOK_AGAIN_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _locked(path: Path) -> int | None:
    with writing(path.parent):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        found = open_locked(path, os.O_RDWR, 0)
    return None if found is None else found[0]

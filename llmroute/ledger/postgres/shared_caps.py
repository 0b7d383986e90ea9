"""Caps that a server keeps for all its hosts, and what a host last saw of them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmroute.files import new_file_beside
from llmroute.ledger.budgets import SharedCap

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from llmroute.ledger.postgres.connection import ServerConnection


def of_json(rows: Iterable[Any]) -> tuple[SharedCap, ...]:
    """Return the caps in the JSON of a server."""
    return tuple(SharedCap(*one) for one in rows)


def last_seen(path: Path) -> tuple[SharedCap, ...] | None:
    """Return the caps that this host saw last; None where it never reached the server of the ledger at `path`."""
    try:
        return of_json(json.loads(_place(path).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def keep(path: Path, caps: tuple[SharedCap, ...]) -> None:
    """Keep the caps for runs that cannot reach the server; a host that cannot write the file asks the server only."""
    if last_seen(path) == caps:
        return
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, new = new_file_beside(_place(path))
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(json.dumps(caps).encode())
            new.replace(_place(path))
        finally:
            new.unlink(missing_ok=True)


def set_cap(connection: ServerConnection, workspace: str, period: str, cap_picousd: int | None, zone: str) -> None:
    """Set a cap for all hosts; None lifts it.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    connection.call("set_cap_1", workspace, period, cap_picousd, zone)


def _place(path: Path) -> Path:
    return path.with_name(f"{path.name}.caps")

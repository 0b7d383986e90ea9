"""Caps that a server keeps for all its hosts, and what a host last saw of them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmroute.files import new_file_beside
from llmroute.ledger import spool
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
    # One elsewhere is newer: it is deleted when the file beside can be written again.
    for place in reversed(_places(path)):
        with suppress(OSError, ValueError, TypeError):
            if place.parent == path.parent or spool.is_ours_alone(place.parent):
                return of_json(json.loads(place.read_bytes()))
    return None


def keep(path: Path, caps: tuple[SharedCap, ...]) -> None:
    """Keep the caps for runs that cannot reach the server: beside the spool or elsewhere, as its rows are.

    A host that can write neither file does not know the caps in its next run.
    """
    if last_seen(path) == caps:
        return
    places = _places(path)
    written = next((number for number, place in enumerate(places) if _written(place, caps, path)), -1)
    for place in places[written + 1 :]:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def set_cap(connection: ServerConnection, workspace: str, period: str, cap_picousd: int | None, zone: str) -> None:
    """Set a cap for all hosts; None lifts it.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    connection.call("set_cap_1", workspace, period, cap_picousd, zone)


def _written(place: Path, caps: tuple[SharedCap, ...], path: Path) -> bool:
    """Replace a file; return whether it holds the caps now."""
    try:
        spool.make_room(place, beside=path.parent)
        fd, new = new_file_beside(place)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(json.dumps(caps).encode())
            new.replace(place)
        finally:
            new.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _places(path: Path) -> list[Path]:
    return [place.with_suffix(".caps") for place in spool.places(path)]

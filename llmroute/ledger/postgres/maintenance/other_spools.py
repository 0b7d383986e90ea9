"""The spools of other ledgers on servers: rows wait for a run with the same URL, or until the user moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger import spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def of_other_servers(ledger: Path, elsewhere: Path = spool.ELSEWHERE) -> list[Path]:
    """Return the spool files with rows of other URLs, or of other configuration directories of this user.

    No row waits for a server of which no caps were seen, so that each spool has a file of caps: beside the ledger, or
    where its directory was never writable, beside the spool elsewhere, whose name does not tell the URL.
    """
    found = {*_named_beside(ledger, elsewhere), *_with_caps_elsewhere(ledger, elsewhere)}
    return sorted(place for place in found.difference(spool.places(ledger, elsewhere)) if spool.waits(place, ledger))


def _named_beside(ledger: Path, elsewhere: Path) -> Iterator[Path]:
    for suffix in (".spool", ".caps"):
        for file in ledger.parent.glob(f"server-*{suffix}"):
            yield from spool.places(file.with_suffix(""), elsewhere)


def _with_caps_elsewhere(ledger: Path, elsewhere: Path) -> Iterator[Path]:
    for place in spool.places(ledger, elsewhere)[1:]:
        for caps in place.parent.glob("*.caps"):
            yield caps.with_suffix(".spool")

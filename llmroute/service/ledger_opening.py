"""Open the ledger for a command that keeps or reads it."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.periods import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.ledger.sqlite.connection import Connect
    from llmroute.ledger.sqlite.store import Ledger

# Ledgers whose locks were waited for in vain, and until when that is not tried anew.
_given_up: dict[Path, float] = {}
_GIVEN_UP_S = 60.0


def patience_of(config: Config) -> LockTimeout:
    """Return how long the locks of the ledger are waited for: not at all where that was in vain a moment ago."""
    in_vain = monotonic() < _given_up.get(config.ledger_path, 0.0)
    return LockTimeout(0.0 if in_vain else config.timeouts.ledger_s)


def ledger_of(config: Config) -> Ledger:
    """Open the ledger, making it where there is none.

    Raises:
        LedgerError: it cannot be opened, or was emptied and caps count on it.
    """
    from llmroute.ledger.sqlite.connection import connected_in_turn

    return _ledger(config, connected_in_turn)


def ledger_to_read(config: Config) -> Ledger:
    """As `ledger_of`, to read it: also while another process keeps its directory locked.

    Raises:
        LedgerError: it cannot be opened, or was emptied and caps count on it.
    """
    from llmroute.ledger.sqlite.connection import connected_out_of_turn

    return _ledger(config, connected_out_of_turn)


def _ledger(config: Config, connect: Connect) -> Ledger:
    from llmroute.ledger.sqlite.maintenance.create import refuse_emptied
    from llmroute.ledger.sqlite.store import Ledger

    if config.limits:
        refuse_emptied(config.ledger_path)
    return Ledger(config.ledger_path, patience=patience_of(config), connect=connect)


@contextmanager
def opened(
    config: Config, now: datetime, ledger_from: Callable[[Config], Ledger] = ledger_to_read
) -> Iterator[Ledger | None]:
    """Open the ledger, to read it unless `ledger_from` is another; None where there is none.

    What waits for it is taken in first.

    Raises:
        LedgerError: it cannot be read.
    """
    from llmroute.ledger.spool import waiting

    if not (config.ledger_path.exists() or waiting(config.ledger_path)):
        yield None
        return
    from llmroute.ledger.sqlite.schema.backfill import fill

    with ledger_from(config) as ledger:
        try:
            ledger.tend(milliseconds(now))
            fill(ledger)
        except LedgerError as error:
            # A ledger that cannot be written can still be read.
            if error.locked:
                _given_up[config.ledger_path] = monotonic() + _GIVEN_UP_S
        yield ledger

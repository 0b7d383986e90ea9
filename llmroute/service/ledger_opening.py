"""Open the configured ledger for a command that reads or maintains it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from llmroute.ledger import opening
from llmroute.ledger.periods import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.ledger.port import LedgerPort, LedgerSnapshot


def ledger_to_change(config: Config) -> LedgerPort:
    """As `opening.open_to_change`."""
    return opening.open_to_change(config.ledger, capped=bool(config.limits), wait_s=config.timeouts.ledger_s)


def ledger_to_read(config: Config) -> LedgerPort:
    """As `opening.open_to_read`."""
    return opening.open_to_read(config.ledger, capped=bool(config.limits), wait_s=config.timeouts.ledger_s)


def snapshot(config: Config, now: datetime) -> AbstractContextManager[LedgerSnapshot | None]:
    """Open one snapshot of the ledger, after spooled rows are added; None where there is no ledger.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    capped, wait_s = bool(config.limits), config.timeouts.ledger_s
    return opening.snapshot_of(config.ledger, milliseconds(now), capped=capped, wait_s=wait_s)


def now_of(ledger: LedgerPort | LedgerSnapshot | None, now: datetime) -> datetime:
    """Return now by the clock of a ledger, which its rows and windows go by."""
    return now if ledger is None else now + timedelta(milliseconds=ledger.clock_offset_ms)


@contextmanager
def opened(config: Config, now: datetime, open_ledger: Callable[[Config], LedgerPort]) -> Iterator[LedgerPort | None]:
    """Open the ledger by `open_ledger`, and add spooled rows; None where there is no ledger.

    Raises:
        LedgerError: the ledger cannot be opened.
    """
    if not opening.has_content(config.ledger):
        yield None
        return
    with closing(open_ledger(config)) as ledger:
        opening.bring_up_to_date(ledger, milliseconds(now))
        yield ledger


def waiting(config: Config) -> list[Path]:
    """Return the spool files that still hold calls, which the ledger lacks."""
    from llmroute.ledger import spool

    return spool.waiting(config.ledger.path)


def waiting_for_other_urls(config: Config) -> list[Path]:
    """Return the spool files with calls for other servers, such as one at an earlier URL of the ledger."""
    return opening.spools_of_other_servers(config.ledger)

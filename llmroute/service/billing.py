"""The bill: what the ledger says that calls cost."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger.periods import PERIODS, milliseconds, start_of

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.reports import Line

__all__ = ["PERIODS", "Bill", "bill"]


@dataclass(frozen=True, slots=True)
class Bill:
    """A period's attempts: the total and a line for each model, dearest first."""

    period: str
    since: datetime | None
    until: datetime
    workspace: str | None
    total: Line
    by_model: list[Line]


def bill(config: Config, period: str, workspace: str | None = None, *, now: datetime | None = None) -> Bill:
    """Return the bill of the current calendar period in the user's time zone.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.reports import by_model, total
    from llmroute.ledger.spool import waiting

    now = now or datetime.now().astimezone()
    since = start_of(period, now)
    lines: list[Line] = []
    if config.ledger_path.exists() or waiting(config.ledger_path):
        from llmroute.ledger.store import Ledger

        with Ledger(config.ledger_path, busy_timeout_s=config.timeouts.ledger_s) as ledger:
            with suppress(LedgerError):
                # A ledger that cannot be written can still be read.
                ledger.tend(milliseconds(now))
            since_ms = None if since is None else milliseconds(since)
            lines = by_model(ledger, since_ms, milliseconds(now), workspace)
    return Bill(period, since, now, workspace, total(lines), lines)


def known_workspaces(config: Config) -> list[str]:
    """Return the workspaces that any call was on the bill of.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not config.ledger_path.exists():
        return []
    from llmroute.ledger.store import Ledger

    with Ledger(config.ledger_path) as ledger:
        return ledger.workspaces()

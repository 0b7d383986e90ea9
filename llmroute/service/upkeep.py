"""The keeping of the ledger: budgets as they stand, checks, copies, old rows."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.ledger.periods import milliseconds, start_of
from llmroute.service.caps import current_caps

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.ledger.budgets import Standing
    from llmroute.ledger.checks import Report
    from llmroute.ledger.salvage import Salvage

_DAYS = {"d": 1, "w": 7, "y": 365}


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was wrong, what it took, and how it is now."""

    before: Report
    salvage: Salvage | None
    after: Report


def standings(config: Config, *, now: datetime | None = None) -> list[Standing]:
    """Return how each cap stands in its current window.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.budgets import Standing, standing
    from llmroute.ledger.spool import waiting

    now = now or datetime.now().astimezone()
    caps = current_caps(config.limits, milliseconds(now))
    if not caps or not (config.ledger_path.exists() or waiting(config.ledger_path)):
        return [Standing(cap, 0, 0) for cap in caps]
    from llmroute.ledger.store import Ledger

    with Ledger(config.ledger_path, busy_timeout_s=config.timeouts.ledger_s) as ledger:
        with suppress(LedgerError):
            # A ledger that cannot be written can still be read.
            ledger.tend(milliseconds(now))
        return [standing(ledger.db, cap) for cap in caps]


def check(config: Config) -> Report:
    """Look whether the ledger is sound; changes nothing.

    Raises:
        LedgerError: somebody keeps it locked, or a newer llmroute wrote it.
    """
    from llmroute.ledger import checks

    return checks.check(config.ledger_path, _now_ms())


def repair(config: Config) -> Repaired:
    """Mend what a check finds, and do what waits to be done.

    Raises:
        LedgerError: it cannot be written.
    """
    from llmroute.ledger import checks, spool
    from llmroute.ledger.salvage import salvage
    from llmroute.ledger.store import Ledger

    path = config.ledger_path
    before = check(config)
    saved = None
    if not before.readable:
        saved = salvage(path, f"{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    if path.exists() or spool.waiting(path):
        with Ledger(path, busy_timeout_s=config.timeouts.ledger_s) as ledger:
            checks.repair_sums(ledger, _now_ms())
    return Repaired(before, saved, check(config))


def backup(config: Config, target: Path) -> None:
    """Copy the ledger into a new file.

    Raises:
        RequestError: there is no ledger, or the file is there already.
        LedgerError: it cannot be read or written.
    """
    from llmroute.ledger import upkeep
    from llmroute.ledger.store import Ledger

    if not config.ledger_path.exists():
        raise RequestError(f"there is no ledger at {config.ledger_path} yet")
    with Ledger(config.ledger_path, busy_timeout_s=config.timeouts.ledger_s) as ledger:
        upkeep.backup(ledger, target)


def prune(config: Config, older_than: str, *, now: datetime | None = None) -> tuple[int, datetime]:
    """Delete attempts older than a span like 90d; return how many, and since when all are kept.

    What a current window may have to count stays, however short the span.

    Raises:
        RequestError: the span cannot be read.
        LedgerError: the ledger cannot be written.
    """
    now = now or datetime.now().astimezone()
    before = min([now - _span(older_than), *(start for p in ("week", "month") if (start := start_of(p, now)))])
    if not config.ledger_path.exists():
        return 0, before
    from llmroute.ledger import upkeep
    from llmroute.ledger.store import Ledger

    with Ledger(config.ledger_path, busy_timeout_s=config.timeouts.ledger_s) as ledger:
        ledger.tend(milliseconds(now))
        return upkeep.prune(ledger, milliseconds(before)), before


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dwy])", text.strip())
    if not found:
        raise RequestError(f"{text!r} is no span", hint="90d, 26w and 2y are")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def _now_ms() -> int:
    return milliseconds(datetime.now().astimezone())

"""Maintenance of the ledger: budget status, checks, copies, pruning."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.execution.accounting.caps import current_caps, limit_of
from llmroute.ledger import opening, spool
from llmroute.ledger.budgets import BudgetStatus
from llmroute.ledger.periods import milliseconds, start_of
from llmroute.ledger_location import LedgerLocation, is_address
from llmroute.service.ledger_opening import ledger_to_change, ledger_to_read, now_of, opened, snapshot
from llmroute.text.plural import many

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.config import Config, Limit
    from llmroute.ledger.maintenance import CheckReport, LedgerMaintenance, Moved, Repaired, Restored
    from llmroute.ledger.port import LedgerSnapshot

_DAYS = {"d": 1, "w": 7, "y": 365}


def standings(config: Config) -> list[BudgetStatus]:
    """Return the status of each cap in its current window.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not config.limits and config.ledger.server is None:
        return []
    now = _now()
    with snapshot(config, now) as reading:
        return standings_in(reading, config, now_of(reading, now))


def standings_in(reading: LedgerSnapshot | None, config: Config, now: datetime) -> list[BudgetStatus]:
    """As `standings`, from an open snapshot; None is a ledger without attempts."""
    shared = () if reading is None else reading.shared_caps()
    caps = current_caps([*config.limits, *map(limit_of, shared)], milliseconds(now))
    return [BudgetStatus(cap, 0, 0) for cap in caps] if reading is None else reading.budget_statuses(caps)


def limits_last_seen(config: Config) -> list[Limit] | None:
    """Return the caps that bind while the ledger cannot be read; None where those of its server are unknown."""
    shared = opening.shared_caps_last_seen(config.ledger)
    return None if shared is None else [*config.limits, *map(limit_of, shared)]


def check(config: Config) -> CheckReport:
    """As `LedgerMaintenance.check`."""
    return _maintenance(config).check(_now())


def repair(config: Config, *, from_zero: bool = False) -> Repaired:
    """As `LedgerMaintenance.repair`."""
    return _maintenance(config).repair(_now(), from_zero=from_zero)


def rehearse_repair(config: Config) -> Repaired:
    """As `LedgerMaintenance.rehearse_repair`."""
    return _maintenance(config).rehearse_repair(_now())


def restore(config: Config, copy: Path) -> Restored:
    """As `LedgerMaintenance.restore`."""
    _require_file(copy)
    return _maintenance(config).restore(copy, _now())


def _maintenance(config: Config) -> LedgerMaintenance:
    return opening.maintenance(config.ledger, capped=bool(config.limits), wait_s=config.timeouts.ledger_s)


def backup(config: Config, target: Path) -> None:
    """Copy the ledger into a new file.

    Raises:
        RequestError: there is no ledger, or the file exists.
        OutputError: the file cannot be written.
        LedgerError: the ledger cannot be read.
    """
    _require_file(target)
    if not config.ledger.exists():
        raise RequestError(f"there is no ledger at {config.ledger.name} yet")
    with closing(ledger_to_read(config)) as ledger:
        ledger.backup(target)


def move(config: Config, url: str, source: Path | None, progress: Callable[[int, int], None]) -> Moved:
    """Copy a SQLite ledger, the default one or `source`, into the server at a URL.

    `progress` receives how many attempts were read, and how many there are to read.

    Raises:
        ConfigError: the URL is invalid, or the driver is not installed.
        RequestError: there is no such ledger, or `url` names no server.
        LedgerError: the file cannot be read, or the server cannot be written.
    """
    if source is not None:
        _require_file(source)
    file = LedgerLocation(source or config.config_dir / "ledger.db")
    return opening.move_to_server(file, config.with_ledger(url).ledger, milliseconds(_now()), progress)


def take_in_spool(config: Config, url: str, place: Path) -> int:
    """Add the rows that wait in a spool to the server at a URL, as after a change of it; return of how many calls.

    Raises:
        ConfigError: the URL is invalid, or the driver is not installed.
        RequestError: there is no such file, no line of it is a call, or `url` names no server.
        LedgerError: the file cannot be read, another process uses it, lines of it are no rows, or the server cannot be
            written.
    """
    _require_file(place)
    done = opening.take_in_spool(place, config.with_ledger(url).ledger)
    if done.invalid:
        lines = f"{many(done.invalid, 'line')} of {place} {'is no call' if done.invalid == 1 else 'are no calls'}"
        raise LedgerError(
            f"{lines} and {'is' if done.invalid == 1 else 'are'} kept in {spool.bad(place)};"
            f" {many(done.calls, 'call')} added"
        )
    return done.calls


def prunable(config: Config, older_than: str) -> tuple[int, datetime]:
    """Return how many attempts are older than a span such as 90d, and the time before which they started.

    Attempts that a current week or month of a cap counts are kept, however short the span is.

    Raises:
        RequestError: the span cannot be parsed.
        LedgerError: the ledger cannot be read.
    """
    now = _now()
    age = _span(older_than)
    with opened(config, now, ledger_to_read) as ledger:
        now = now_of(ledger, now)
        before = min([now - age, *(start for p in ("week", "month") if (start := start_of(p, now)))])
        return (0 if ledger is None else ledger.prunable(milliseconds(before))), before


def prune(config: Config, before: datetime) -> int:
    """Delete the attempts before a time that `prunable` returned; return how many.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    if not config.ledger.exists():
        return 0
    with closing(ledger_to_change(config)) as ledger:
        return ledger.prune(milliseconds(before))


def _require_file(path: Path) -> None:
    """Reject the address of a server; the message does not quote it, as it may hold a password."""
    if is_address(str(path)):
        raise RequestError("a file is needed here, and what was given is the address of a server", hint="name a file")


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dwy])", text.strip())
    if not found:
        raise RequestError(f"{text!r} is no span", hint="90d, 26w and 2y are")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def _now() -> datetime:
    return datetime.now().astimezone()

"""The keeping of the ledger: budgets as they stand, checks, copies, old rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.execution.accounting.caps import current_caps
from llmroute.ledger.periods import milliseconds, start_of
from llmroute.service.ledger_opening import ledger_of, ledger_to_read, opened, patience_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Config
    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.sqlite.maintenance.integrity import Report
    from llmroute.ledger.sqlite.maintenance.restore import Restored
    from llmroute.ledger.sqlite.recovery.rebuild import Salvage

_DAYS = {"d": 1, "w": 7, "y": 365}


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was wrong, what it took, and how it is now.

    `told` is what is counted otherwise than before, in words; `kept` is a copy of the ledger as it was.
    """

    before: Report
    salvage: Salvage | None
    kept: Path | None
    told: tuple[str, ...]
    after: Report


def standings(config: Config, *, now: datetime | None = None) -> list[BudgetStatus]:
    """Return how each cap stands in its current window.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.spool import waiting
    from llmroute.ledger.sqlite.budgets import standing

    now = now or datetime.now().astimezone()
    caps = current_caps(config.limits, milliseconds(now))
    if not caps or not (config.ledger_path.exists() or waiting(config.ledger_path)):
        return [BudgetStatus(cap, 0, 0) for cap in caps]
    with opened(config, now) as ledger:
        assert ledger is not None
        return [standing(ledger.db, cap) for cap in caps]


def check(config: Config) -> Report:
    """Look whether the ledger is sound; changes nothing.

    Raises:
        LedgerError: somebody keeps it locked, or a newer llmroute wrote it.
    """
    from llmroute.ledger.sqlite.connection import connected_out_of_turn
    from llmroute.ledger.sqlite.maintenance import integrity

    return integrity.check(config.ledger_path, _now_ms(), patience_of(config), connected_out_of_turn)


def repair(config: Config, *, from_zero: bool = False) -> Repaired:
    """Mend what a check finds, and do what waits to be done; with `from_zero` where a cap forgets all by it too.

    Raises:
        LedgerError: it cannot be written, others keep it locked, or nothing in it tells what a cap has counted.
    """
    from llmroute.ledger import spool
    from llmroute.ledger.sqlite.maintenance import integrity
    from llmroute.ledger.sqlite.maintenance import repair as repairs
    from llmroute.ledger.sqlite.maintenance.create import free_name
    from llmroute.ledger.sqlite.recovery.rebuild import salvage
    from llmroute.ledger.sqlite.store import Ledger

    path, patience = config.ledger_path, patience_of(config)
    found = before = integrity.check(path, _now_ms(), patience)
    saved, kept = None, None
    told: tuple[str, ...] = ()
    if before.unlike and before.readable:
        with Ledger(path, patience=patience) as ledger:
            kept = repairs.repair_parts(ledger, free_name(path, "before-repair", _stamp()))
        found = integrity.check(path, _now_ms(), patience)
    if not found.readable:
        if config.limits and not from_zero:
            _refuse_to_forget(config)
        saved = salvage(path, _stamp(), _now_ms(), patience)
    if path.exists() or spool.waiting(path):
        with Ledger(path, patience=patience) as ledger:
            told = repairs.repair_sums(ledger, _now_ms())
    return Repaired(before, saved, kept, told, integrity.check(path, _now_ms(), patience_of(config)))


def _refuse_to_forget(config: Config) -> None:
    saved = rehearse_repair(config).salvage
    if saved and not saved.rows and not saved.lost.rows:
        raise LedgerError(
            f"{config.ledger_path}: nothing in it tells what was spent, and the caps would begin at zero;"
            " it is left as it is",
            hint="llmroute costs restore FILE puts back a copy; llmroute costs check --repair --yes begins at zero",
        )


def rehearse_repair(config: Config) -> Repaired:
    """Repair a copy, which is then thrown away: what is told is what `repair` would do.

    Raises:
        LedgerError: it cannot be copied, or others keep it locked.
    """
    from llmroute.ledger.sqlite.maintenance.private_copy import copied

    path = config.ledger_path
    with copied(path, patience_of(config)) as copy:
        tried = repair(replace(config, ledger_path=copy), from_zero=True)
        return _as_of(tried, lambda text: text.replace(str(copy.parent), str(path.absolute().parent)))


def _as_of(tried: Repaired, named: Callable[[str], str]) -> Repaired:
    """Name the files of the ledger itself in what a repair of its copy has told."""

    def report(one: Report) -> Report:
        return replace(one, faults=tuple(map(named, one.faults)), notes=tuple(map(named, one.notes)))

    saved, kept = tried.salvage, tried.kept
    return Repaired(
        report(tried.before),
        saved and replace(saved, aside=Path(named(str(saved.aside)))),
        kept and Path(named(str(kept))),
        tuple(map(named, tried.told)),
        report(tried.after),
    )


def restore(config: Config, copy: Path) -> Restored:
    """Put a copy back in the place of the ledger, which is kept beside it.

    Raises:
        RequestError: there is no such copy.
        LedgerError: the copy is not sound, or the ledger cannot be replaced just now.
    """
    from llmroute.ledger.sqlite.maintenance import restore as restoring

    return restoring.restore(config.ledger_path, copy, _stamp(), _now_ms(), patience_of(config))


def backup(config: Config, target: Path) -> None:
    """Copy the ledger into a new file.

    Raises:
        RequestError: there is no ledger, or the file is there already.
        LedgerError: it cannot be read or written.
    """
    from llmroute.ledger.sqlite.maintenance import prune as upkeep

    if not config.ledger_path.exists():
        raise RequestError(f"there is no ledger at {config.ledger_path} yet")
    with ledger_to_read(config) as ledger:
        upkeep.backup(ledger, target)


def prunable(config: Config, older_than: str, *, now: datetime | None = None) -> tuple[int, datetime]:
    """Return how many attempts are older than a span like 90d, and since when all would be kept.

    What a current window may have to count stays, however short the span.

    Raises:
        RequestError: the span cannot be read.
        LedgerError: the ledger cannot be read.
    """
    now = now or datetime.now().astimezone()
    before = min([now - _span(older_than), *(start for p in ("week", "month") if (start := start_of(p, now)))])
    from llmroute.ledger.sqlite.maintenance import prune as upkeep

    with opened(config, now) as ledger:
        return (0 if ledger is None else upkeep.prunable(ledger, milliseconds(before))), before


def prune(config: Config, before: datetime) -> int:
    """Delete the attempts before a time that `prunable` has told; return how many.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    if not config.ledger_path.exists():
        return 0
    from llmroute.ledger.sqlite.maintenance import prune as upkeep

    with ledger_of(config) as ledger:
        return upkeep.prune(ledger, milliseconds(before))


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dwy])", text.strip())
    if not found:
        raise RequestError(f"{text!r} is no span", hint="90d, 26w and 2y are")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def _stamp() -> str:
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _now_ms() -> int:
    return milliseconds(datetime.now().astimezone())

"""Open a ledger: the one place that decides which database stores it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TypeGuard

    from llmroute.ledger.jobs import JobJournal
    from llmroute.ledger.maintenance import LedgerMaintenance
    from llmroute.ledger.port import LedgerPort, LedgerSnapshot

# Ledgers that stayed locked for a whole timeout, and until when they are not waited for again.
_given_up: dict[Path, float] = {}
_GIVEN_UP_S = 60.0


def lock_timeout(path: Path, wait_s: float) -> LockTimeout:
    """Return how long a command may wait for the locks of a ledger: not at all if it timed out a moment ago."""
    gave_up = monotonic() < _given_up.get(path, 0.0)
    return LockTimeout(0.0 if gave_up else wait_s)


def is_ledger(given: object) -> TypeGuard[LedgerPort]:
    """Whether an argument of a caller is an open ledger."""
    from llmroute.ledger.sqlite.store import Ledger

    return isinstance(given, Ledger)


def journal_of(ledger: LedgerPort) -> JobJournal:
    """Return the journal of batch jobs of an open ledger.

    Raises:
        LedgerError: its database keeps none.
    """
    journal: JobJournal | None = getattr(ledger, "jobs", None)
    if journal is None:
        raise LedgerError(f"the ledger {ledger.path} keeps no batch jobs", hint="use a ledger in a SQLite file")
    return journal


def has_content(path: Path) -> bool:
    """Whether there is a ledger, or a spool from which the next run creates one."""
    from llmroute.ledger.spool import waiting

    return path.exists() or bool(waiting(path))


def open_for_requests(path: Path, *, capped: bool, wait_s: float, opening: LockTimeout) -> LedgerPort:
    """Open a ledger, creating it if there is none; each write waits for locks up to `wait_s`, and this `opening`.

    Raises:
        LedgerError: it cannot be opened, or is an empty file and `capped` says that caps need its sums.
    """
    from llmroute.ledger.sqlite.maintenance.create import refuse_emptied
    from llmroute.ledger.sqlite.store import Ledger

    if capped:
        refuse_emptied(path)
    return Ledger(path, busy_timeout_s=wait_s, opening=opening)


def open_to_change(path: Path, *, capped: bool, wait_s: float) -> LedgerPort:
    """Open a ledger for maintenance; all its waits together take up to `wait_s`.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    from llmroute.ledger.sqlite.maintenance.create import refuse_emptied
    from llmroute.ledger.sqlite.store import Ledger

    if capped:
        refuse_emptied(path)
    return Ledger(path, patience=lock_timeout(path, wait_s))


def open_to_read(path: Path, *, capped: bool, wait_s: float) -> LedgerPort:
    """As `open_to_change`, also while another process keeps the directory locked.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    from llmroute.ledger.sqlite.connection import connected_out_of_turn
    from llmroute.ledger.sqlite.maintenance.create import refuse_emptied
    from llmroute.ledger.sqlite.store import Ledger

    if capped:
        refuse_emptied(path)
    return Ledger(path, patience=lock_timeout(path, wait_s), connect=connected_out_of_turn)


def bring_up_to_date(ledger: LedgerPort, now_ms: int) -> None:
    """Take in spooled rows, settle those of dead processes and fill the sums; a read-only ledger stays as it is."""
    try:
        ledger.tend(now_ms)
        ledger.fill_sums()
    except LedgerError as error:
        if error.locked:
            _given_up[ledger.path] = monotonic() + _GIVEN_UP_S


@contextmanager
def snapshot_of(path: Path, now_ms: int, *, capped: bool, wait_s: float) -> Iterator[LedgerSnapshot | None]:
    """Open one snapshot of a ledger that is up to date; None where there is none.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    if not has_content(path):
        yield None
        return
    with closing(open_to_read(path, capped=capped, wait_s=wait_s)) as ledger:
        bring_up_to_date(ledger, now_ms)
        with ledger.snapshot() as snapshot:
            yield snapshot


def attempt_columns() -> list[str]:
    """Return the names of the columns of an attempt in a new ledger."""
    from llmroute.ledger.sqlite.queries.attempts import columns_without_ledger

    return columns_without_ledger()


def maintenance(path: Path, *, capped: bool, wait_s: float) -> LedgerMaintenance:
    """Return the checks and repairs of the ledger at `path`, which may be damaged."""
    from llmroute.ledger.sqlite.maintenance.file_maintenance import FileMaintenance

    return FileMaintenance(path, lambda: lock_timeout(path, wait_s), capped=capped)

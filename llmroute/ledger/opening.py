"""Open a ledger: the one place that decides which database stores it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.ledger.lock_timeout import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any, TypeGuard

    from llmroute.ledger.budgets import SharedCap
    from llmroute.ledger.maintenance import LedgerMaintenance, Moved, ServerStatus
    from llmroute.ledger.port import LedgerPort, LedgerSnapshot
    from llmroute.ledger.spool import TakenIn
    from llmroute.ledger_location import LedgerLocation, ServerAddress

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


def has_content(location: LedgerLocation) -> bool:
    """Whether there is a ledger, or a spool from which the next run creates one."""
    from llmroute.ledger.spool import waiting

    return location.exists() or bool(waiting(location.path))


def open_for_requests(location: LedgerLocation, *, capped: bool, wait_s: float, opening: LockTimeout) -> LedgerPort:
    """Open a ledger, creating it if there is none; each write waits for locks up to `wait_s`, and this `opening`.

    Raises:
        LedgerError: it cannot be opened, or is an empty file and `capped` says that caps need its sums.
    """
    if location.server is not None:
        return _on_server(location.server, location.path, wait_s)
    return _on_file(location.path, capped=capped, busy_timeout_s=wait_s, opening=opening)


def open_to_change(location: LedgerLocation, *, capped: bool, wait_s: float) -> LedgerPort:
    """Open a ledger for maintenance; all its waits together take up to `wait_s`.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    if location.server is not None:
        return _on_server(location.server, location.path, wait_s)
    return _on_file(location.path, capped=capped, patience=lock_timeout(location.path, wait_s))


def open_to_read(location: LedgerLocation, *, capped: bool, wait_s: float) -> LedgerPort:
    """As `open_to_change`, also while another process keeps the directory locked.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    if location.server is not None:
        return _on_server(location.server, location.path, wait_s)
    from llmroute.ledger.sqlite.connection import connected_out_of_turn

    patience = lock_timeout(location.path, wait_s)
    return _on_file(location.path, capped=capped, patience=patience, connect=connected_out_of_turn)


def _on_file(path: Path, *, capped: bool, **options: Any) -> LedgerPort:
    from llmroute.ledger.sqlite.maintenance.create import refuse_emptied
    from llmroute.ledger.sqlite.store import Ledger

    if capped:
        refuse_emptied(path)
    return Ledger(path, **options)


def _on_server(server: ServerAddress, path: Path, wait_s: float) -> LedgerPort:
    from llmroute.ledger.postgres.store import PostgresLedger

    return PostgresLedger(server, path, wait_s=wait_s)


def shared_caps_last_seen(location: LedgerLocation) -> Sequence[SharedCap] | None:
    """Return the caps of a server as this host last saw them; None where it never reached it, none of a file."""
    if location.server is None:
        return ()
    from llmroute.ledger.postgres.shared_caps import last_seen

    return last_seen(location.path)


def set_shared_cap(location: LedgerLocation, workspace: str, period: str, cap_picousd: int | None, zone: str) -> None:
    """Set a cap for all hosts of a server, and see it at once here; None lifts it.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    assert location.server is not None
    from llmroute.ledger.postgres.shared_caps import set_cap
    from llmroute.ledger.postgres.store import PostgresLedger

    with closing(PostgresLedger(location.server, location.path)) as ledger:
        ledger.recall(bucket=0, now_ms=0)
        set_cap(ledger.connection, workspace, period, cap_picousd, zone)
        ledger.recall(bucket=0, now_ms=0)


def server_status(location: LedgerLocation) -> ServerStatus | None:
    """Ask the server of a ledger what it is; None of a file.

    Raises:
        LedgerError: the server cannot be reached.
    """
    if location.server is None:
        return None
    from llmroute.ledger.postgres.health import server_status

    return server_status(location.server, location.path)


def spools_of_other_servers(location: LedgerLocation) -> list[Path]:
    """Return the spool files with rows of other servers than that of a ledger; none beside a file."""
    if location.server is None:
        return []
    from llmroute.ledger.postgres.maintenance.other_spools import of_other_servers

    return of_other_servers(location.path)


def move_to_server(
    source: LedgerLocation, target: LedgerLocation, now_ms: int, progress: Callable[[int, int], None]
) -> Moved:
    """Copy a SQLite ledger into a server; `progress` receives how many attempts were read, of how many.

    Raises:
        LedgerError: the file cannot be read, or the server cannot be written.
        RequestError: the source is no file, or the target no server.
    """
    if source.server is not None or not source.path.exists():
        raise RequestError(f"there is no SQLite ledger at {source.name}", hint="name another file")
    server = _server(target)
    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.postgres.maintenance.move import move

    with closing(ServerConnection(server)) as connection:
        return move(connection, source.path, now_ms, progress)


def take_in_spool(place: Path, target: LedgerLocation) -> TakenIn:
    """Add the rows of a spool to a server, as after its URL changed; lines that are no rows stay beside it.

    Raises:
        LedgerError: the file cannot be read, another process uses it, or the server cannot be written.
        RequestError: there is no such file, no line of it is a row, or the target is no server.
    """
    if not place.is_file():
        raise RequestError(f"there is no spool at {place}", hint="llmroute costs check names those that have rows")
    server = _server(target)
    from llmroute.ledger.postgres.store import PostgresLedger

    with closing(PostgresLedger(server, target.path)) as ledger:
        return ledger.take_in(place)


def _server(target: LedgerLocation) -> ServerAddress:
    if target.server is None:
        raise RequestError(f"{target.name} is not the URL of a server", hint="postgresql://user@host/database is one")
    return target.server


def bring_up_to_date(ledger: LedgerPort, now_ms: int) -> None:
    """Add spooled rows, settle those of dead processes and fill the sums; a read-only ledger stays as it is."""
    try:
        ledger.tend(now_ms)
        ledger.fill_sums()
    except LedgerError as error:
        if error.locked:
            _given_up[ledger.path] = monotonic() + _GIVEN_UP_S


@contextmanager
def snapshot_of(
    location: LedgerLocation, now_ms: int, *, capped: bool, wait_s: float
) -> Iterator[LedgerSnapshot | None]:
    """Open one snapshot of a ledger that is up to date; None where there is none.

    Raises:
        LedgerError: as `open_for_requests`.
    """
    if not has_content(location):
        yield None
        return
    with closing(open_to_read(location, capped=capped, wait_s=wait_s)) as ledger:
        bring_up_to_date(ledger, now_ms)
        with ledger.snapshot() as snapshot:
            yield snapshot


def attempt_columns() -> list[str]:
    """Return the names of the columns of an attempt in a new ledger."""
    from llmroute.ledger.sqlite.queries.attempts import columns_without_ledger

    return columns_without_ledger()


def maintenance(location: LedgerLocation, *, capped: bool, wait_s: float) -> LedgerMaintenance:
    """Return the checks and repairs of a ledger, which may be damaged."""
    path = location.path
    if location.server is not None:
        from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance

        return ServerMaintenance(location.server, path)
    from llmroute.ledger.sqlite.maintenance.file_maintenance import FileMaintenance

    return FileMaintenance(path, lambda: lock_timeout(path, wait_s), capped=capped)

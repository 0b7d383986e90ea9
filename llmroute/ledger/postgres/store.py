"""A ledger on a PostgreSQL server: begin and settle attempts, read statistics, reports and maintenance."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Self

from llmroute.errors import LedgerError, RequestError
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger import spool
from llmroute.ledger.entries import OutdatedCapsError, Pending, Settled, copied
from llmroute.ledger.lock_timeout import lock_error
from llmroute.ledger.postgres import statistics
from llmroute.ledger.postgres.bounded_connection import REPLY_S
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.entries import as_json
from llmroute.ledger.postgres.errors import other_clock, outdated
from llmroute.ledger.postgres.schema.late_attempts import REMEMBERS_SINCE
from llmroute.ledger.postgres.schema.lost_attempts import GIVEN_UP_AT_ONCE
from llmroute.ledger.postgres.shared_caps import keep, last_seen
from llmroute.ledger.postgres.spool_intake import take_in
from llmroute.ledger.postgres.writes import WriteLimits, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import SharedCap
    from llmroute.ledger.corrections import Correction
    from llmroute.ledger.entries import LedgerEntry, Refusal
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.postgres.journal import PostgresJobs
    from llmroute.ledger.postgres.snapshot import PostgresSnapshot
    from llmroute.ledger.postgres.statistics import Recollection
    from llmroute.ledger.statistics.values import StatsSnapshot
    from llmroute.ledger_location import ServerAddress

_SHORTEST_LOCK_MS = 50
# A smaller difference of the clocks may be the time that an answer took.
_CLOCK_OFF_MS = REPLY_S * 1000
# A transaction takes longer than its entries are more: each changes the rows of the same windows again.
ENTRIES_AT_ONCE = spool.ROWS_AT_ONCE


class PostgresLedger:
    """The `port.LedgerPort` of a server.  Nothing is connected before the first statement.

    Every write is one statement in one round trip, and none is open while a provider is called.  `path` names the
    spool, which holds what the server could not take.
    """

    def __init__(self, address: ServerAddress, path: Path, *, wait_s: float = LOCK_WAIT_S) -> None:
        self.path = path
        self.connection = ServerConnection(address)
        self._wait_s = wait_s
        self._jobs: PostgresJobs | None = None
        self._known: Recollection | None = None
        self._caps: tuple[SharedCap, ...] | None = None
        self._caps_version: int | None = None

    @property
    def clock_offset_ms(self) -> int:
        """How far the server's clock is ahead of this machine's, 0 before this process read anything from it."""
        return self.connection.clock.offset_ms

    @property
    def shared_caps(self) -> Sequence[SharedCap] | None:
        """The caps for all hosts, as this process or an earlier one last saw them; None where none did."""
        return last_seen(self.path) if self._caps is None else self._caps

    def write(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None = None
    ) -> list[LedgerError | Refusal | None]:
        """Write entries in order, in groups of ENTRIES_AT_ONCE; return for each its error or refusal, or None."""
        if self._caps_version is None and any(isinstance(entry, Pending) for entry in entries):
            # They were made under the caps that this host saw last, and perhaps by its own clock.
            try:
                seen, is_dated = last_seen(self.path), self.connection.clock.is_set
                self._recalled(anew=True)
                if not is_dated and abs(self.clock_offset_ms) >= _CLOCK_OFF_MS:
                    raise other_clock(self.connection.address)
                if seen not in (None, self._caps):
                    raise outdated(self.connection.address)
            except LedgerError as error:
                return [copied(error) for _ in entries]
        return self._written(entries, patience, self._caps_version)

    def write_at_once(self, entries: Sequence[LedgerEntry]) -> None:
        """Return None, with nothing written: a round trip is a wait."""

    def recall(self, *, bucket: int, task: str = "", now_ms: int, patience: LockTimeout | None = None) -> StatsSnapshot:
        """Return the statistics of prompts of a size bucket and a task, as of the server's now."""
        del now_ms, patience
        known = self._recalled(anew=True)
        return known.memory.snapshot(bucket=bucket, task=task, now_ms=known.now_ms)

    def retry_allowed(self, provider: str, now_ms: int, patience: LockTimeout | None = None) -> bool:
        """Whether a provider has a retry token left."""
        del now_ms, patience
        known = self._recalled(anew=True)
        return known.memory.retries_left(provider, known.now_ms) >= 1

    def reset_breakers(self, provider: str) -> int:
        """Close every circuit of a provider; return how many were not closed."""
        closed = self._recalled(anew=True).memory.reset(provider)
        lesson = as_json({"kind": "reset", "provider": provider})
        with self.connection.transaction() as db:
            table = f"{self.connection.schema}.lessons"
            db.execute(
                f"INSERT INTO {table} (provider, trips, lesson) VALUES (%s, true, %s)".encode(),  # noqa: S608
                (provider, lesson),
            )
        return closed

    def tend(self, now_ms: int, patience: LockTimeout | None = None, until_s: float = inf) -> list[Path]:
        """Add spooled rows, and all of them under a shared cap; `recall` and `fill_sums` settle those of dead hosts.

        Returns the spool files that other processes keep locked.
        """
        del now_ms
        locked = []
        places = spool.waiting(self.path)
        if places:
            # A host whose rows are not taken obeys the caps of the others nevertheless.
            self._recalled(anew=True)
        if self._caps:
            until_s = inf
        for place in places:
            try:
                self._take_in(place, patience, until_s)
            except BlockingIOError:
                locked.append(place)
            except PermissionError:
                # The spool of another user, as under sudo, does not block the ledger.
                continue
            except OSError as error:
                raise _unreadable(place, error) from error
        return locked

    def take_in(self, place: Path) -> spool.TakenIn:
        """Add the rows of a spool file that is of another URL of this server.

        Raises:
            RequestError: no line of it is a row; it stays as it is.
            LedgerError: the file or the server cannot be used.
        """
        try:
            if not spool.has_rows(place):
                raise RequestError(
                    f"no line of {place} is a call, and the file stays as it is",
                    hint="llmroute costs check names the spools that have calls",
                )
            self._recalled(anew=True)
            return self._take_in(place, None, inf)
        except BlockingIOError as error:
            raise lock_error(f"another process uses the spool {place}", hint="run the command again later") from error
        except OSError as error:
            raise _unreadable(place, error) from error

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """Open a read transaction for reports: every query in the block sees the same state."""
        from llmroute.ledger.postgres.snapshot import PostgresSnapshot

        with self.connection.transaction(read_only=True) as db:
            yield PostgresSnapshot(db, self.connection.schema, self.clock_offset_ms)

    @property
    def jobs(self) -> PostgresJobs:
        """The journal of batch jobs."""
        if self._jobs is None:
            from llmroute.ledger.postgres.journal import PostgresJobs

            self._jobs = PostgresJobs(self.connection, self._wait_s, self._recalled)
        return self._jobs

    def fill_sums(self) -> None:
        """Settle the attempts of dead hosts, merge sums where many wait, and fill those of a newer schema."""
        known = self._recalled(anew=True)
        while known.given_up == GIVEN_UP_AT_ONCE:
            known = self._recalled(anew=True)
        if known.needs_upkeep:
            statistics.upkeep(self.connection, known)
        statistics.fill(self.connection)

    def correct(self, named: str, cost_picousd: int, now_ms: int) -> Correction:
        """Replace the cost of an attempt; see `corrections.correct`."""
        from llmroute.ledger.postgres.maintenance.corrections import correct

        del now_ms
        return correct(self.connection, named, cost_picousd)

    def backup(self, target: Path) -> None:
        """Copy the ledger into a new SQLite file; see `copies.backup`."""
        from llmroute.ledger.postgres.maintenance.copies import backup

        backup(self.connection, target)

    def prunable(self, before_ms: int) -> int:
        """Return how many attempts `prune` would delete."""
        from llmroute.ledger.postgres.maintenance.prune import prunable

        return prunable(self.connection, before_ms)

    def prune(self, before_ms: int) -> int:
        """Delete settled attempts that started before a time; see `prune.prune`."""
        from llmroute.ledger.postgres.maintenance.prune import prune

        # Sums are filled from the rows first, while they are there.
        self.fill_sums()
        return prune(self.connection, before_ms)

    def close(self) -> None:
        """Close the connection after the running statement."""
        self.connection.close()

    def close_at_once(self) -> bool:
        """Close the connection unless another thread uses it; return whether it is closed."""
        return self.connection.close_at_once()

    def leave(self) -> None:
        """Close the connection: a server notices a process that only ends as a lost one."""
        self.connection.close_at_once()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _written(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None, caps_version: int | None
    ) -> list[LedgerError | Refusal | None]:
        """Write entries, up to ENTRIES_AT_ONCE in a transaction, that were made under a version of the shared caps.

        None is any version.
        """
        if len(entries) > ENTRIES_AT_ONCE:
            groups = [entries[at : at + ENTRIES_AT_ONCE] for at in range(0, len(entries), ENTRIES_AT_ONCE)]
            return [outcome for group in groups for outcome in self._written(group, patience, caps_version)]
        left_s = self._wait_s if patience is None else patience.left_s
        lock_timeout_ms = max(round(left_s * 1000), _SHORTEST_LOCK_MS)
        try:
            outcomes = write(self.connection, entries, self._recalled, WriteLimits(lock_timeout_ms, caps_version))
        except OutdatedCapsError as error:
            with suppress(LedgerError):
                self._recalled(anew=True)
            return [copied(error) for _ in entries]
        except LedgerError as error:
            return [copied(error) for _ in entries]
        if any(isinstance(entry, Settled) for entry in entries):
            self._keep_up()
        return outcomes

    def _recalled(self, *, anew: bool) -> Recollection:
        if anew or self._known is None:
            self._known = statistics.recall(self.connection)
            if self._caps != self._known.caps:
                # A server that was restored from an older copy may have others under the same version.
                self._caps = self._known.caps
                keep(self.path, self._caps)
            self._caps_version = self._known.caps_version
        return self._known

    def _keep_up(self) -> None:
        """Fold and merge where much waits, after an attempt has ended; another run does it where this fails."""
        known = self._known
        if known is None:
            return
        with suppress(LedgerError):
            self.connection.update_schema(known.schema_version)
            if known.needs_upkeep:
                self._known = None
                statistics.upkeep(self.connection, known)

    def _take_in(self, place: Path, patience: LockTimeout | None, until_s: float) -> spool.TakenIn:
        return take_in(place, lambda entries: self._written(entries, patience, None), self._forget_late, until_s)

    def _forget_late(self, rows: Sequence[AttemptRow]) -> None:
        """Tell the server that rows are in no spool any more; where this fails, it only remembers them."""
        if not rows:
            return
        keys = [{name: getattr(row, name) for name in ("request_id", "attempt", "started_ms")} for row in rows]
        with suppress(LedgerError):
            if self._recalled(anew=False).schema_version >= REMEMBERS_SINCE:
                self.connection.call("forget_late_1", as_json(keys))


def _unreadable(place: Path, error: OSError) -> LedgerError:
    return LedgerError(f"the spool {place} cannot be read: {error.strerror or error}")

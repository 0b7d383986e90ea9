"""The journal of batch jobs in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError
from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.jobs import (
    CHANGING,
    ENDS,
    KEPT,
    Job,
    JobLine,
    JobSums,
    PlacedLine,
    QueuedJob,
    SchemaOfLines,
    custom_id,
)
from llmroute.ledger.sqlite.budget_warnings import claim
from llmroute.ledger.sqlite.writes import SETTLE, write

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from llmroute.ledger.entries import BudgetWatch
    from llmroute.ledger.jobs import LineEnd, NewLine
    from llmroute.ledger.sqlite.shared_connection import SharedConnection

_JOB = ", ".join(Job._fields)
_LINE = ", ".join(JobLine._fields)
_ADD_JOB = f"INSERT INTO jobs ({_JOB}) VALUES ({', '.join('?' * len(Job._fields))})"  # noqa: S608 (own names)
_SETS = ", ".join(f"{name} = ifnull(?, {name})" if name in KEPT else f"{name} = ?" for name in CHANGING)
_SAVE_JOB = f"UPDATE jobs SET {_SETS} WHERE id = ?"  # noqa: S608
_WITHDRAW = """
UPDATE jobs SET phase = 'cancelled', cancel_ms = ?, delivered_ms = ?
WHERE id = ? AND phase = 'submitting' AND vendor_id IS NULL AND create_begun_ms IS NULL
"""
_ADD_LINE = f"INSERT INTO job_lines (job, {_LINE}) VALUES (?, {', '.join('?' * len(JobLine._fields))})"  # noqa: S608
_SETTLE_LINE = "UPDATE job_lines SET state = ? WHERE job = ? AND n = ? AND state = 'reserved'"
_UNANSWERED = "UPDATE job_lines SET state = ? WHERE job = ? AND state = 'reserved'"
# The ids of the requests of a job are its id, a hyphen and a number; "." comes next after "-".
_OF_JOB = "request_id >= :job || '-' AND request_id < :job || '.' AND status = 'pending'"
_RELEASE = f"""
UPDATE attempts SET status = :status, error = :error, settled_ms = :now_ms, cost_picousd = 0, cost_basis = 'reported'
WHERE {_OF_JOB}
"""  # noqa: S608 (own names)
# As `maintenance.orphans`, for lines whose results are lost.
_LOSE = f"""
UPDATE attempts SET status = 'failed', error = :error, settled_ms = :now_ms,
    cost_picousd = iif(cost_basis = 'estimated', expected_picousd, reserved_picousd),
    cost_basis = ifnull(cost_basis, 'at_most')
WHERE {_OF_JOB}
"""  # noqa: S608 (own names)
_FORGET_SCHEMAS = "DELETE FROM job_schemas WHERE job = ?"
_SUMS = """
SELECT ifnull(sum(state = 'answered'), 0), ifnull(sum(state IN ('failed', 'rejected')), 0),
    ifnull(sum(state = 'unanswered'), 0)
FROM job_lines WHERE job = ?
"""
_MONEY = """
SELECT ifnull(sum(iif(status = 'pending', 0, cost_picousd)), 0),
    ifnull(sum(iif(status = 'pending', reserved_picousd, 0)), 0)
FROM attempts WHERE request_id >= ? || '-' AND request_id < ? || '.'
"""
_QUEUED = """
SELECT provider, model, vendor_id, lines,
    (SELECT ifnull(sum(expected_input), 0) FROM job_lines WHERE job = jobs.id)
FROM jobs
"""
_ENQUEUED = f"""{_QUEUED}
WHERE provider = ? AND jobs.id <> ?
    AND (phase IN ('queued', 'running') OR phase = 'submitting' AND create_begun_ms IS NOT NULL)
"""


class SQLiteJobs:
    """The `JobJournal` of a SQLite ledger; `require_triggers` checks that reservations are counted."""

    def __init__(self, connection: SharedConnection, require_triggers: Callable[[sqlite3.Connection], None]) -> None:
        self._connection = connection
        self._require_triggers = require_triggers

    def add(self, job: Job) -> None:
        """Add a job."""
        with self._connection.transaction() as db:
            db.execute(_ADD_JOB, job)

    def save(self, job: Job) -> bool:
        """Save the fields of a job that change; return False, without a change, where another process has ended it."""
        with self._connection.transaction() as db:
            (stored,) = db.execute("SELECT phase FROM jobs WHERE id = ?", (job.id,)).fetchone()
            if stored in ENDS and not job.ended:
                return False
            db.execute(_SAVE_JOB, (*(getattr(job, name) for name in CHANGING), job.id))
            if job.cleaned_ms is not None:
                db.execute(_FORGET_SCHEMAS, (job.id,))
            return True

    def withdraw(self, job: str, now_ms: int) -> bool:
        """Cancel a job whose creation was not sent, and release its lines; return whether it was so."""
        with self._connection.transaction() as db:
            if not db.execute(_WITHDRAW, (now_ms, now_ms, job)).rowcount:
                return False
            _end_lines(db, job, _RELEASE, status="failed", error="cancelled", now_ms=now_ms)
            return True

    def reserve(self, job: str, lines: Sequence[NewLine]) -> list[BudgetExceededError | None]:
        """Reserve the worst case of lines; return for each its refusal, None if it is now a line of the job."""
        outcomes: list[BudgetExceededError | None] = []
        with self._connection.transaction() as db:
            self._require_triggers(db)
            for line, pending in lines:
                (refusal,) = write(db, [pending])
                if refusal is None:
                    db.execute(_ADD_LINE, (job, *line))
                # Without a claim to probe, a budget alone refuses.
                outcomes.append(refusal if isinstance(refusal, BudgetExceededError) else None)
            db.execute("UPDATE jobs SET lines = lines + ? WHERE id = ?", (outcomes.count(None), job))
        return outcomes

    def settle(self, job: str, ends: Sequence[LineEnd], watch: BudgetWatch | None = None) -> list[bool]:
        """Settle lines; return for each whether it was still reserved: a settled line does not change."""
        settled = []
        with self._connection.transaction() as db:
            for end in ends:
                was_reserved = db.execute(_SETTLE_LINE, (end.state, job, end.n)).rowcount > 0
                if was_reserved:
                    db.execute(SETTLE, end.row.values())
                settled.append(was_reserved)
            if watch is not None:
                watch.near[:] = claim(db, watch.caps, watch.warn_at)
        return settled

    def release(self, job: str, error: str, now_ms: int) -> int:
        """Release the reserved lines of a job, which were not run; return how many."""
        with self._connection.transaction() as db:
            return _end_lines(db, job, _RELEASE, status="failed", error=error, now_ms=now_ms)

    def lose(self, job: str, error: str, now_ms: int) -> int:
        """Settle the reserved lines of a job whose results are lost: their cost is unknown; return how many."""
        with self._connection.transaction() as db:
            return _end_lines(db, job, _LOSE, error=error, now_ms=now_ms)

    def deliver(self, run: str, now_ms: int) -> None:
        """Note that the results of all jobs of a run were delivered."""
        with self._connection.transaction() as db:
            db.execute("UPDATE jobs SET delivered_ms = ? WHERE run = ? AND delivered_ms IS NULL", (now_ms, run))

    def take_over(self, run: str, host: str) -> None:
        """Note that the results of the jobs of a run are delivered on another host than before."""
        with self._connection.transaction() as db:
            db.execute("UPDATE jobs SET host = ? WHERE run = ?", (host, run))

    def drop(self, job: str, now_ms: int) -> None:
        """Release the lines of a job that was never submitted, and delete it with its lines."""
        with self._connection.transaction() as db:
            _end_lines(db, job, _RELEASE, status="interrupted", error=None, now_ms=now_ms)
            db.execute("DELETE FROM job_lines WHERE job = ?", (job,))
            db.execute(_FORGET_SCHEMAS, (job,))
            db.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def jobs(self, *, run: str | None = None, output: str | None = None) -> list[Job]:
        """Return jobs, oldest first: all, or those of a run or of an output."""
        wanted = "(:run IS NULL OR run = :run) AND (:output IS NULL OR output = :output)"
        query = f"SELECT {_JOB} FROM jobs WHERE {wanted} ORDER BY id"  # noqa: S608 (own names)
        with self._connection.reading() as db:
            return [_job(row) for row in db.execute(query, {"run": run, "output": output})]

    def job(self, job: str) -> Job | None:
        """Return a job by its id, None if there is none."""
        with self._connection.reading() as db:
            row = db.execute(f"SELECT {_JOB} FROM jobs WHERE id = ?", (job,)).fetchone()  # noqa: S608
            return None if row is None else _job(row)

    def placed(self, run: str, first: int, last: int) -> dict[int, PlacedLine]:
        """Return the lines of a run that are in jobs, by position, from `first` to `last`, both included."""
        query = (
            "SELECT position, job, n, job_lines.state FROM jobs JOIN job_lines ON job = jobs.id"
            " WHERE run = ? AND position BETWEEN ? AND ? ORDER BY jobs.id"
        )
        with self._connection.reading() as db:
            # Of a line that several jobs had, the last one counts.
            return {row[0]: PlacedLine(*row[1:]) for row in db.execute(query, (run, first, last))}

    def lines(self, job: str, first: int, last: int) -> list[JobLine]:
        """Return the lines of a job from number `first` to `last`, both included."""
        query = f"SELECT {_LINE} FROM job_lines WHERE job = ? AND n BETWEEN ? AND ? ORDER BY n"  # noqa: S608
        with self._connection.reading() as db:
            return [JobLine(*row) for row in db.execute(query, (job, first, last))]

    def rows(self, job: str, numbers: Sequence[int]) -> Iterator[tuple[JobLine, AttemptRow]]:
        """Yield lines with their attempts; those that do not exist are left out."""
        attempt = f"SELECT {', '.join(COLUMNS)} FROM attempts WHERE request_id = ? AND attempt = 1"  # noqa: S608
        line = f"SELECT {_LINE} FROM job_lines WHERE job = ? AND n = ?"  # noqa: S608
        with self._connection.reading() as db:
            for n in numbers:
                values = db.execute(line, (job, n)).fetchone()
                row = db.execute(attempt, (custom_id(job, n),)).fetchone()
                if values is not None and row is not None:
                    yield JobLine(*values), AttemptRow(*row)

    def sums(self, job: str) -> JobSums:
        """Return the sums of a job."""
        with self._connection.reading() as db:
            counts = db.execute(_SUMS, (job,)).fetchone()
            return JobSums(*counts, *db.execute(_MONEY, (job, job)).fetchone())

    def queued(self, job: str) -> QueuedJob:
        """Return a job as it is counted, or will be, in the queue of its provider."""
        with self._connection.reading() as db:
            return QueuedJob(*db.execute(f"{_QUEUED} WHERE jobs.id = ?", (job,)).fetchone())

    def enqueued(self, provider: str, besides: str) -> list[QueuedJob]:
        """Return the jobs of all runs in the queue of a provider, without the job `besides`."""
        with self._connection.reading() as db:
            return [QueuedJob(*row) for row in db.execute(_ENQUEUED, (provider, besides))]

    def add_schemas(self, job: str, schemas: Sequence[SchemaOfLines]) -> None:
        """Add schemas of lines."""
        with self._connection.transaction() as db:
            db.executemany("INSERT INTO job_schemas VALUES (?, ?, ?, ?)", [(job, *schema) for schema in schemas])

    def schema_starts(self, job: str) -> list[int]:
        """Return the numbers of the lines at which the schemas of a job begin, in order."""
        with self._connection.reading() as db:
            return [n for (n,) in db.execute("SELECT n FROM job_schemas WHERE job = ? ORDER BY n", (job,))]

    def schemas(self, job: str, starts: Sequence[int]) -> list[SchemaOfLines]:
        """Return the schemas of a job that begin at some lines."""
        query = "SELECT n, document, class_name FROM job_schemas WHERE job = ? AND n = ?"
        with self._connection.reading() as db:
            return [SchemaOfLines(*row) for n in starts for row in db.execute(query, (job, n))]

    def lease(self, run: str, owner: str, for_ms: int, dead: str | None = None) -> str:
        """Return the owner: the lock of the output is enough on one machine."""
        del run, for_ms, dead
        return owner

    def renew_lease(self, run: str, owner: str, for_ms: int) -> bool:
        """Return True: no other process can have taken it."""
        del run, owner, for_ms
        return True

    def end_lease(self, run: str, owner: str) -> None:
        """Do nothing: there are no leases."""


def _end_lines(db: sqlite3.Connection, job: str, statement: str, **values: object) -> int:
    db.execute(statement, {"job": job, **values})
    return db.execute(_UNANSWERED, ("unanswered", job)).rowcount


def _job(row: tuple[object, ...]) -> Job:
    job = Job(*row)  # type: ignore[arg-type]
    return job._replace(sealed=bool(job.sealed))

"""The journal of batch jobs on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import BudgetExceededError
from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.entries import Settled
from llmroute.ledger.jobs import CHANGING, ENDS, KEPT, Job, JobLine, JobSums, PlacedLine, QueuedJob, SchemaOfLines
from llmroute.ledger.postgres.bounded_connection import REPLY_S
from llmroute.ledger.postgres.entries import (
    as_json,
    begin_json,
    keep_near,
    outcome_of,
    settle_json,
    watch_json,
    windows_of,
)
from llmroute.ledger.postgres.errors import outdated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Cursor

    from llmroute.ledger.entries import BudgetWatch
    from llmroute.ledger.jobs import LineEnd, NewLine
    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.postgres.writes import Recall

ENDED_AT_ONCE = 500
"""Lines without a result that are ended in one transaction: each changes the rows of windows, for which others wait."""
_JOB = ", ".join(Job._fields)
_LINE = ", ".join(JobLine._fields)
_ADD_JOB = (
    f"INSERT INTO {{schema}}.jobs ({_JOB}) VALUES ({', '.join(['%s'] * len(Job._fields))}) ON CONFLICT DO NOTHING"  # noqa: S608
)
_SETS = ", ".join(f"{name} = coalesce(%s, {name})" if name in KEPT else f"{name} = %s" for name in CHANGING)
_SAVE_JOB = f"UPDATE {{schema}}.jobs SET {_SETS} WHERE id = %s AND (phase <> ALL (%s) OR %s)"  # noqa: S608 (own names)
# Also where it was sent twice.
_WITHDRAW = """
UPDATE {schema}.jobs SET phase = 'cancelled', cancel_ms = %(now_ms)s, delivered_ms = %(now_ms)s
WHERE id = %(job)s AND vendor_id IS NULL AND create_begun_ms IS NULL
    AND (phase = 'submitting' OR phase = 'cancelled' AND cancel_ms = %(now_ms)s)
"""
_PLACED = """
SELECT position, job, n, state FROM {schema}.jobs JOIN {schema}.job_lines ON job = id
WHERE run = %s AND position BETWEEN %s AND %s ORDER BY id
"""
_ROWS = f"""
SELECT {", ".join(f"line.{name}" for name in JobLine._fields)}, {", ".join(f"attempt.{name}" for name in COLUMNS)}
FROM {{schema}}.job_lines AS line
JOIN {{schema}}.attempts AS attempt ON attempt.request_id = line.job || '-' || line.n AND attempt.attempt = 1
WHERE line.job = %s AND line.n = ANY (%s) ORDER BY line.n
"""  # noqa: S608 (own names)
_SUMS = """
SELECT count(*) FILTER (WHERE state = 'answered'), count(*) FILTER (WHERE state IN ('failed', 'rejected')),
    count(*) FILTER (WHERE state = 'unanswered')
FROM {schema}.job_lines WHERE job = %s
"""
# The ids of the requests of a job are its id, a hyphen and a number; "." comes next after "-".
_MONEY = """
SELECT coalesce(sum(cost_picousd) FILTER (WHERE status <> 'pending'), 0)::bigint,
    coalesce(sum(reserved_picousd) FILTER (WHERE status = 'pending'), 0)::bigint
FROM {schema}.attempts WHERE request_id >= %(job)s || '-' AND request_id < %(job)s || '.'
"""
_QUEUED = """
SELECT provider, model, vendor_id, lines,
    (SELECT coalesce(sum(expected_input), 0)::bigint FROM {schema}.job_lines WHERE job = jobs.id)
FROM {schema}.jobs
"""
_ENQUEUED = f"""{_QUEUED}
WHERE provider = %s AND jobs.id <> %s
    AND (phase IN ('queued', 'running') OR phase = 'submitting' AND create_begun_ms IS NOT NULL)
"""
_LEASE = """
INSERT INTO {schema}.job_leases AS known VALUES (%(run)s, %(owner)s, {schema}.now_ms_1() + %(for_ms)s)
ON CONFLICT (run) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms
WHERE known.owner IN (excluded.owner, %(dead)s) OR known.until_ms <= {schema}.now_ms_1()
"""
_RENEW = """
UPDATE {schema}.job_leases SET until_ms = {schema}.now_ms_1() + %(for_ms)s WHERE run = %(run)s AND owner = %(owner)s
"""


class PostgresJobs:
    """The `JobJournal` of a server.

    A statement whose connection broke is sent again, and does nothing the second time.  `recalled` returns what this
    process knows of the server, `anew` from there; locks are waited for up to `wait_s`.
    """

    def __init__(self, connection: ServerConnection, wait_s: float, recalled: Recall) -> None:
        self._connection = connection
        self._wait_s = wait_s
        self._recalled = recalled
        # Its clock, its caps, and whether it takes this client.
        recalled(anew=False)

    def add(self, job: Job) -> None:
        """Add a job."""
        self._change(_ADD_JOB, job)

    def save(self, job: Job) -> bool:
        """Save the fields of a job that change; return False, without a change, where another process has ended it."""
        values = [getattr(job, name) for name in CHANGING]
        if job.cleaned_ms is not None:
            self._change("DELETE FROM {schema}.job_schemas WHERE job = %s", (job.id,))
        return self._change(_SAVE_JOB, (*values, job.id, [*ENDS], job.ended)) > 0

    def withdraw(self, job: str, now_ms: int) -> bool:
        """Cancel a job whose creation was not sent, and release its lines; return whether it was so."""
        if not self._change(_WITHDRAW, {"job": job, "now_ms": now_ms}):
            return False
        self.release(job, "cancelled", now_ms)
        return True

    def reserve(self, job: str, lines: Sequence[NewLine]) -> list[BudgetExceededError | None]:
        """Reserve the worst case of lines; return for each its refusal, None if it is now a line of the job."""
        entries = [pending for _, pending in lines]
        requests = [begin_json(entry, (), (0, 0)) for entry in entries]
        made = [{"job": job, **line._asdict()} for line, _ in lines]
        results = self._call(
            "reserve_lines_2",
            job,
            as_json(requests),
            as_json(made),
            as_json(windows_of(entries)),
            self._lock_timeout_ms,
            self._recalled(anew=False).caps_version,
        )
        if results is None:
            self._recalled(anew=True)
            raise outdated(self._connection.address)
        outcomes = [outcome_of(entry, one) for entry, one in zip(entries, results, strict=True)]
        return [outcome if isinstance(outcome, BudgetExceededError) else None for outcome in outcomes]

    def settle(self, job: str, ends: Sequence[LineEnd], watch: BudgetWatch | None = None) -> list[bool]:
        """Settle lines; return for each whether it was still reserved: a settled line does not change."""
        entries = [{"n": end.n, "state": end.state, "entry": settle_json(Settled(end.row))} for end in ends]
        result = self._call(
            "settle_lines_2", job, as_json(entries), as_json(watch and watch_json(watch)), self._lock_timeout_ms
        )
        if watch is not None:
            keep_near(watch, result["near"])
        settled = {*result["settled"]}
        return [end.n in settled for end in ends]

    def release(self, job: str, error: str, now_ms: int) -> int:
        """Release the reserved lines of a job, which were not run; return how many."""
        return self._end_lines(job, "failed", error, now_ms, is_free=True)

    def lose(self, job: str, error: str, now_ms: int) -> int:
        """Settle the reserved lines of a job whose results are lost: their cost is unknown; return how many."""
        return self._end_lines(job, "failed", error, now_ms, is_free=False)

    def deliver(self, run: str, now_ms: int) -> None:
        """Note that the results of all jobs of a run were delivered."""
        self._change(
            "UPDATE {schema}.jobs SET delivered_ms = %s WHERE run = %s AND delivered_ms IS NULL", (now_ms, run)
        )

    def take_over(self, run: str, host: str) -> None:
        """Note that the results of the jobs of a run are delivered on another host than before."""
        self._change("UPDATE {schema}.jobs SET host = %s WHERE run = %s", (host, run))

    def drop(self, job: str, now_ms: int) -> None:
        """Release the lines of a job that was never submitted, and delete it with its lines."""
        self._end_lines(job, "interrupted", None, now_ms, is_free=True)
        self._change(
            "WITH gone AS (DELETE FROM {schema}.job_lines WHERE job = %(job)s),"
            " schemas AS (DELETE FROM {schema}.job_schemas WHERE job = %(job)s)"
            " DELETE FROM {schema}.jobs WHERE id = %(job)s",
            {"job": job},
        )

    def jobs(self, *, run: str | None = None, output: str | None = None) -> list[Job]:
        """Return jobs, oldest first: all, or those of a run or of an output."""
        wanted = "(%(run)s::text IS NULL OR run = %(run)s) AND (%(output)s::text IS NULL OR output = %(output)s)"
        query = f"SELECT {_JOB} FROM {{schema}}.jobs WHERE {wanted} ORDER BY id"  # noqa: S608 (own names)
        return [Job(*row) for row in self._rows(query, {"run": run, "output": output})]

    def job(self, job: str) -> Job | None:
        """Return a job by its id, None if there is none."""
        rows = self._rows(f"SELECT {_JOB} FROM {{schema}}.jobs WHERE id = %s", (job,))  # noqa: S608 (own names)
        return Job(*rows[0]) if rows else None

    def placed(self, run: str, first: int, last: int) -> dict[int, PlacedLine]:
        """Return the lines of a run that are in jobs, by position, from `first` to `last`, both included."""
        # Of a line that several jobs had, the last one counts.
        return {row[0]: PlacedLine(*row[1:]) for row in self._rows(_PLACED, (run, first, last))}

    def lines(self, job: str, first: int, last: int) -> list[JobLine]:
        """Return the lines of a job from number `first` to `last`, both included."""
        query = f"SELECT {_LINE} FROM {{schema}}.job_lines WHERE job = %s AND n BETWEEN %s AND %s ORDER BY n"  # noqa: S608
        return [JobLine(*row) for row in self._rows(query, (job, first, last))]

    def rows(self, job: str, numbers: Sequence[int]) -> Iterator[tuple[JobLine, AttemptRow]]:
        """Yield lines with their attempts; those that do not exist are left out."""
        split = len(JobLine._fields)
        for row in self._rows(_ROWS, (job, [*numbers])):
            yield JobLine(*row[:split]), AttemptRow(*row[split:])

    def sums(self, job: str) -> JobSums:
        """Return the sums of a job."""
        (counts,) = self._rows(_SUMS, (job,))
        (money,) = self._rows(_MONEY, {"job": job})
        return JobSums(*counts, *money)

    def queued(self, job: str) -> QueuedJob:
        """Return a job as it is counted, or will be, in the queue of its provider."""
        (row,) = self._rows(f"{_QUEUED} WHERE jobs.id = %s", (job,))
        return QueuedJob(*row)

    def enqueued(self, provider: str, besides: str) -> list[QueuedJob]:
        """Return the jobs of all runs in the queue of a provider, without the job `besides`."""
        return [QueuedJob(*row) for row in self._rows(_ENQUEUED, (provider, besides))]

    def add_schemas(self, job: str, schemas: Sequence[SchemaOfLines]) -> None:
        """Add schemas of lines."""
        sql = "INSERT INTO {schema}.job_schemas SELECT * FROM jsonb_populate_recordset(NULL::{schema}.job_schemas, %s)"
        rows = [{"job": job, **schema._asdict()} for schema in schemas]
        self._change(f"{sql} ON CONFLICT DO NOTHING", (as_json(rows),))

    def schema_starts(self, job: str) -> list[int]:
        """Return the numbers of the lines at which the schemas of a job begin, in order."""
        return [n for (n,) in self._rows("SELECT n FROM {schema}.job_schemas WHERE job = %s ORDER BY n", (job,))]

    def schemas(self, job: str, starts: Sequence[int]) -> list[SchemaOfLines]:
        """Return the schemas of a job that begin at some lines."""
        query = "SELECT n, document, class_name FROM {schema}.job_schemas WHERE job = %s AND n = ANY (%s)"
        return [SchemaOfLines(*row) for row in self._rows(query, (job, [*starts]))]

    def lease(self, run: str, owner: str, for_ms: int, dead: str | None = None) -> str:
        """Take the lease of a run; return its owner, which is another while the lease of that lasts."""
        values = {"run": run, "owner": owner, "for_ms": for_ms, "dead": dead}
        if self._change(_LEASE, values):
            return owner
        rows = self._rows("SELECT owner FROM {schema}.job_leases WHERE run = %s", (run,))
        return str(rows[0][0]) if rows else ""

    def renew_lease(self, run: str, owner: str, for_ms: int) -> bool:
        """Renew a lease; return False where another process has taken it since, also if that has given it back."""
        return self._change(_RENEW, {"run": run, "owner": owner, "for_ms": for_ms}) > 0

    def end_lease(self, run: str, owner: str) -> None:
        """Give a lease back."""
        self._change("DELETE FROM {schema}.job_leases WHERE run = %s AND owner = %s", (run, owner))

    def _end_lines(self, job: str, status: str, error: str | None, now_ms: int, *, is_free: bool) -> int:
        count, ended = 0, ENDED_AT_ONCE
        while ended == ENDED_AT_ONCE:
            values = (job, status, error, now_ms, is_free, ENDED_AT_ONCE, self._lock_timeout_ms)
            ended = self._call("end_lines_2", *values)
            count += ended
        return count

    @property
    def _lock_timeout_ms(self) -> int:
        return round(self._wait_s * 1000)

    def _call(self, function: str, *values: Any) -> Any:
        return self._connection.call(function, *values, within_s=self._wait_s + REPLY_S)

    def _change(self, sql: str, values: Any) -> int:
        """Execute a statement, which is a transaction; return how many rows it changed."""
        return self._executed(sql, values).rowcount

    def _rows(self, sql: str, values: Any) -> list[tuple[Any, ...]]:
        return self._executed(sql, values).fetchall()

    def _executed(self, sql: str, values: Any) -> Cursor:
        return self._connection.execute(sql.format(schema=self._connection.schema), values, self._wait_s + REPLY_S)

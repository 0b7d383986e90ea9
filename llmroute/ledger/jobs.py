"""The journal of batch jobs (reserved, submitted, settled, delivered), for any database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llmroute.errors import BudgetExceededError
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.entries import BudgetWatch, Pending

JobPhase = Literal["submitting", "queued", "running", "done", "expired", "cancelled", "failed"]
LineState = Literal["reserved", "answered", "rejected", "failed", "unanswered"]
"""Of a line: reserved until it is settled.

Then answered, answered without being valid against its schema, failed with an error, or not run, which costs nothing.
"""

ENDS: Final = frozenset(("done", "expired", "cancelled", "failed"))
"""The phases of jobs whose provider runs no more lines of them."""
# A job whose submission was rejected for now is submitted again.
_NEXT: Final[dict[str, frozenset[str]]] = {
    "submitting": frozenset(("queued", "running")) | ENDS,
    "queued": frozenset(("submitting", "running")) | ENDS,
    "running": frozenset(("submitting", "queued")) | ENDS,
}


def files_of_jobs(ledger: Path) -> Path:
    """Return the folder of files with the lines of jobs, beside a ledger."""
    return ledger.with_name(f"{ledger.name}.jobs")


class Job(NamedTuple):
    """A job; times are UTC milliseconds, and None is "not yet" or "unknown".

    Attributes:
        id: our id, the prefix of the custom ids of its lines.
        run: the run that it belongs to; all jobs of a run have one output, input and deadline.
        output: the absolute path of the results file, or the name of a batch of the library; None in older jobs of it.
        input_digest, options_digest: digests of the input and the options of the run.
        price: the batch price that its lines were reserved at, as JSON.
        sealed: whether all of its lines are reserved and in the file to upload.
        create_begun_ms: when its creation was first sent, so that it may exist at the provider.
        submitted_ms: when the provider confirmed it.
        cancel_ms: when its cancellation was requested.
        delivered_ms: when all of its results were written to the output, or yielded to the program.
        cleaned_ms: when its files at the provider were deleted, or were to be kept.
        host: the host that has its output: it was made there, or resumed; None in older jobs.
    """

    id: str
    run: str
    output: str | None
    input_digest: str
    options_digest: str
    provider: str
    model: str
    phase: JobPhase
    lines: int
    created_ms: int
    deadline_ms: int
    price: str | None = None
    sealed: bool = False
    upload_begun_ms: int | None = None
    file_id: str | None = None
    create_begun_ms: int | None = None
    vendor_id: str | None = None
    submitted_ms: int | None = None
    expires_ms: int | None = None
    fault: str | None = None
    cancel_ms: int | None = None
    delivered_ms: int | None = None
    cleaned_ms: int | None = None
    host: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the provider runs no more lines of it."""
        return self.phase in ENDS

    @property
    def is_of_library(self) -> bool:
        """Whether a program made it with `generate_batch`, which writes no file."""
        return self.output is None or not self.output.startswith("/")

    def moved(self, phase: JobPhase) -> Job:
        """Return the job in another phase.

        Raises:
            LedgerError: a job that has ended does not begin again.
        """
        if phase != self.phase and phase not in _NEXT.get(self.phase, ()):
            raise LedgerError(f"job {self.id} is {self.phase} and cannot become {phase}")
        return self._replace(phase=phase)


_FIXED: Final = ("id", "run", "output", "input_digest", "options_digest", "provider", "model", "created_ms", "host")
CHANGING: Final = tuple(name for name in Job._fields if name not in _FIXED)
"""The fields of a job that `JobJournal.save` saves."""
KEPT: Final = ("cancel_ms", "delivered_ms", "cleaned_ms")
"""Those that are not taken back: another process may have noted them."""


class JobLine(NamedTuple):
    """A line of a job, without its text: the facts that its settlement needs.

    `position` is its place in the input, from 0, and `line_id` its id there, as JSON.  The tokens are those of
    `PromptSize`; `max_tokens` is the limit that was sent.
    """

    n: int
    position: int
    line_id: str
    state: LineState
    expected_input: int
    worst_input: int
    max_tokens: int | None
    expected_output: int


class SchemaOfLines(NamedTuple):
    """The schema of the lines of a job from number `n` on, as JSON; None where they have none.

    `class_name` is the name of the pydantic class that it was made from.
    """

    n: int
    document: str | None
    class_name: str | None = None


class NewLine(NamedTuple):
    """A line to reserve, and its attempt."""

    line: JobLine
    pending: Pending


class LineEnd(NamedTuple):
    """The end of a line and of its attempt."""

    n: int
    state: LineState
    row: AttemptRow


class PlacedLine(NamedTuple):
    """The latest job of a line of the input, and its state in it."""

    job: str
    n: int
    state: LineState


class JobSums(NamedTuple):
    """Lines of a job by what became of them, and its money in pico-USD."""

    answered: int
    failed: int
    unanswered: int
    cost_picousd: int
    reserved_picousd: int


class QueuedJob(NamedTuple):
    """The share of a job in the queue of its provider; `tokens` are the expected ones of its prompts."""

    provider: str
    model: str
    vendor_id: str | None
    lines: int
    tokens: int


class JobJournal(Protocol):
    """The journal of an open ledger.  Every method raises LedgerError where the ledger cannot be read or written.

    Each change is one transaction with what it does to reservations.
    """

    def add(self, job: Job) -> None:
        """Add a job."""

    def save(self, job: Job) -> bool:
        """Save the fields of a job that change; return False, without a change, where another process has ended it."""

    def withdraw(self, job: str, now_ms: int) -> bool:
        """Cancel a job whose creation was not sent, and release its lines; return whether it was so."""

    def reserve(self, job: str, lines: Sequence[NewLine]) -> list[BudgetExceededError | None]:
        """Reserve the worst case of lines; return for each its refusal, None if it is now a line of the job.

        Raises:
            OutdatedCapsError: shared caps changed after the lines were made; nothing is reserved.
        """

    def settle(self, job: str, ends: Sequence[LineEnd], watch: BudgetWatch | None = None) -> list[bool]:
        """Settle lines; return for each whether it was still reserved: a settled line does not change.

        Caps that they count against may be watched.
        """

    def release(self, job: str, error: str, now_ms: int) -> int:
        """Release the reserved lines of a job, which were not run; return how many."""

    def lose(self, job: str, error: str, now_ms: int) -> int:
        """Settle the reserved lines of a job whose results are lost: their cost is unknown; return how many."""

    def deliver(self, run: str, now_ms: int) -> None:
        """Note that the results of all jobs of a run were delivered."""

    def take_over(self, run: str, host: str) -> None:
        """Note that the results of the jobs of a run are delivered on another host than before."""

    def drop(self, job: str, now_ms: int) -> None:
        """Release the lines of a job that was never submitted, and delete it with its lines."""

    def jobs(self, *, run: str | None = None, output: str | None = None) -> list[Job]:
        """Return jobs, oldest first: all, or those of a run or of an output."""

    def job(self, job: str) -> Job | None:
        """Return a job by its id, None if there is none."""

    def placed(self, run: str, first: int, last: int) -> dict[int, PlacedLine]:
        """Return the lines of a run that are in jobs, by position, from `first` to `last`, both included."""

    def lines(self, job: str, first: int, last: int) -> list[JobLine]:
        """Return the lines of a job from number `first` to `last`, both included."""

    def rows(self, job: str, numbers: Sequence[int]) -> Iterator[tuple[JobLine, AttemptRow]]:
        """Yield lines with their attempts; those that do not exist are left out."""

    def sums(self, job: str) -> JobSums:
        """Return the sums of a job."""

    def queued(self, job: str) -> QueuedJob:
        """Return a job as it is counted, or will be, in the queue of its provider."""

    def enqueued(self, provider: str, besides: str) -> list[QueuedJob]:
        """Return the jobs of all runs in the queue of a provider, without the job `besides`.

        A job that may have been created counts.
        """

    def add_schemas(self, job: str, schemas: Sequence[SchemaOfLines]) -> None:
        """Add schemas of lines; they are deleted with their job, or when that is cleaned up after."""

    def schema_starts(self, job: str) -> list[int]:
        """Return the numbers of the lines at which the schemas of a job begin, in order."""

    def schemas(self, job: str, starts: Sequence[int]) -> list[SchemaOfLines]:
        """Return the schemas of a job that begin at some lines."""

    def lease(self, run: str, owner: str, for_ms: int, dead: str | None = None) -> str:
        """Take the lease of a run; return its owner, which is another while the lease of that lasts.

        A `dead` owner has none any more.  A ledger of one machine has no leases: the lock of the output is enough.
        """

    def renew_lease(self, run: str, owner: str, for_ms: int) -> bool:
        """Renew a lease; return False where another process has taken it since, also if that has given it back."""

    def end_lease(self, run: str, owner: str) -> None:
        """Give a lease back."""


def custom_id(job: str, n: int) -> str:
    """Return the id of a line at the provider, which is the id of its request in the ledger too."""
    return f"{job}-{n}"


def number_of(job: str, custom: str) -> int | None:
    """Return the number of a line from its id at the provider, None if it is not one of the job's."""
    prefix, _, digits = custom.rpartition("-")
    if prefix != job or not (digits.isascii() and digits.isdecimal()) or str(int(digits[:9])) != digits:
        return None
    return int(digits)

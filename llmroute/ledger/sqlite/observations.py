"""What calls have taught: latency, reliability, retry tokens, and open circuits.

Processes that live a second learn from each other here.  Everything is written in the transaction of the attempt that
taught it.  Time of day comes in as UTC milliseconds; a clock that jumps back counts as standing still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from llmroute.circuits import HOUR_MS
from llmroute.ledger.latency import Latency, faded, first
from llmroute.ledger.sqlite.breakers import close, learn_failure, open_breakers
from llmroute.ledger.stats import RELIABILITY_HALF_LIFE_MS, Observation, StatsSnapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

Key = TypeVar("Key")

OUTPUT_LENGTH_HALF_LIFE_MS = 30 * 24 * HOUR_MS

RETRY_TOKENS = 20.0
TOKENS_PER_SUCCESS = 0.2
TOKENS_PER_MS = 1 / 60_000


def recall(db: sqlite3.Connection, *, bucket: int, effort: str, task: str = "", now_ms: int) -> StatsSnapshot:
    """Read what is known of calls of this size and effort, decayed to now."""
    known: dict[str, list[tuple[str, str, str, Latency]]] = {}
    columns = "metric, provider, model, effort, weight, log_sum, at_ms, spread, trouble, slower, since_ms"
    for metric, provider, model, of_effort, *told in db.execute(
        f"SELECT {columns} FROM latencies WHERE bucket = ?",  # noqa: S608 (own names)
        (bucket,),
    ):
        known.setdefault(metric, []).append((provider, model, of_effort, Latency(*told)))
    latencies = {
        (provider, model, metric): latency.evidence(now_ms, len(every))
        for metric, every in known.items()
        for provider, model, of_effort, latency in every
        if of_effort == effort
    }
    reliabilities = {}
    for provider, model, ok, calls, at_ms in db.execute("SELECT provider, model, ok, calls, at_ms FROM reliabilities"):
        kept = faded(now_ms - at_ms, RELIABILITY_HALF_LIFE_MS)
        reliabilities[provider, model] = (ok * kept, calls * kept)
    return StatsSnapshot(latencies, _output_lengths(db, effort, task), reliabilities, open_breakers(db, now_ms))


def _output_lengths(
    db: sqlite3.Connection, effort: str, task: str
) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """Return the answers and their tokens by (provider, model): of all tasks, then of `task`, 0 where it is none."""
    found = {}
    for provider, model, *sums in db.execute(
        "SELECT provider, model, sum(answers), sum(tokens),"
        " sum(answers * (task = :task AND task <> '')), sum(tokens * (task = :task AND task <> ''))"
        " FROM output_lengths WHERE effort = :effort GROUP BY provider, model",
        {"effort": effort, "task": task},
    ):
        answers, tokens, of_task, task_tokens = map(float, sums)
        found[provider, model] = (answers, tokens, of_task, task_tokens)
    return found


def learn(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    """Take in what attempts taught, in their order; what many say of one thing is read once and written once."""
    _learn_latencies(db, lessons)
    _learn_output_lengths(db, lessons)
    _learn_reliabilities(db, lessons)
    # Models that are known to be well: nothing has been left to close since.
    well: set[tuple[str, str]] = set()
    for lesson in lessons:
        about = (lesson.provider, lesson.model)
        if not lesson.succeeded:
            well = {other for other in well if other[0] != lesson.provider}
            learn_failure(db, lesson)
        elif about not in well:
            well.add(about)
            close(db, lesson)
    _earn_tokens(db, [lesson for lesson in lessons if lesson.succeeded])


def retry_tokens(db: sqlite3.Connection, provider: str, now_ms: int) -> float:
    """Return how many retries a provider has left."""
    row = db.execute("SELECT tokens, at_ms FROM retry_tokens WHERE provider = ?", (provider,)).fetchone()
    return RETRY_TOKENS if row is None else min(RETRY_TOKENS, row[0] + max(now_ms - row[1], 0) * TOKENS_PER_MS)


def spend_retry_token(db: sqlite3.Connection, provider: str, now_ms: int) -> None:
    """Take one of a provider's retries."""
    _set_tokens(db, provider, max(retry_tokens(db, provider, now_ms) - 1, 0.0), now_ms)


def _earn_tokens(db: sqlite3.Connection, successes: Sequence[Observation]) -> None:
    for (provider,), own in _by(lambda lesson: (lesson.provider,), successes):
        now_ms = own[-1].at_ms
        tokens = retry_tokens(db, provider, now_ms)
        if tokens < RETRY_TOKENS:
            _set_tokens(db, provider, min(tokens + TOKENS_PER_SUCCESS * len(own), RETRY_TOKENS), now_ms)


def _set_tokens(db: sqlite3.Connection, provider: str, tokens: float, now_ms: int) -> None:
    db.execute("INSERT OR REPLACE INTO retry_tokens VALUES (?, ?, ?)", (provider, tokens, now_ms))


def _by(key: Callable[[Observation], Key], lessons: Iterable[Observation]) -> Iterable[tuple[Key, list[Observation]]]:
    """Tell lessons apart by what they are about; their order is kept."""
    found: dict[Key, list[Observation]] = {}
    for lesson in lessons:
        found.setdefault(key(lesson), []).append(lesson)
    return found.items()


def _learn_latencies(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    for about, own in _by(lambda lesson: (lesson.provider, lesson.model, lesson.effort, lesson.bucket), lessons):
        _learn_latency(db, (*about, "ttft"), [(lesson.ttft_s, lesson.at_ms) for lesson in own])
        _learn_latency(db, (*about, "per_token"), [(lesson.per_token_s, lesson.at_ms) for lesson in own])


def _learn_latency(
    db: sqlite3.Connection, key: tuple[str, str, str, int, str], observed: Iterable[tuple[float | None, int]]
) -> None:
    told = [(max(seconds, 1e-6), at_ms) for seconds, at_ms in observed if seconds is not None]
    if not told:
        return
    row = db.execute(
        "SELECT weight, log_sum, at_ms, spread, trouble, slower, since_ms FROM latencies"
        " WHERE provider = ? AND model = ? AND effort = ? AND bucket = ? AND metric = ?",
        key,
    ).fetchone()
    known = Latency(*row) if row else None
    for seconds, at_ms in told:
        known = known.joined(seconds, at_ms) if known else first(seconds, at_ms)
    assert known is not None
    db.execute("INSERT OR REPLACE INTO latencies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *known))


def _learn_output_lengths(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    telling = (lesson for lesson in lessons if lesson.output_tokens is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model, lesson.effort, lesson.task), telling):
        row = db.execute(
            "SELECT answers, tokens, at_ms FROM output_lengths"
            " WHERE provider = ? AND model = ? AND effort = ? AND task = ?",
            key,
        ).fetchone()
        answers, tokens, at_ms = row or (0.0, 0.0, own[0].at_ms)
        for lesson in own:
            kept = faded(lesson.at_ms - at_ms, OUTPUT_LENGTH_HALF_LIFE_MS)
            answers, tokens = answers * kept + 1, tokens * kept + (lesson.output_tokens or 0)
            at_ms = max(at_ms, lesson.at_ms)
        db.execute("INSERT OR REPLACE INTO output_lengths VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, answers, tokens, at_ms))


def _learn_reliabilities(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    telling = (lesson for lesson in lessons if lesson.succeeded is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model), telling):
        row = db.execute("SELECT ok, calls, at_ms FROM reliabilities WHERE provider = ? AND model = ?", key).fetchone()
        ok, calls, at_ms = row or (0.0, 0.0, own[0].at_ms)
        for lesson in own:
            kept = faded(lesson.at_ms - at_ms, RELIABILITY_HALF_LIFE_MS)
            ok, calls, at_ms = ok * kept + bool(lesson.succeeded), calls * kept + 1, lesson.at_ms
        db.execute("INSERT OR REPLACE INTO reliabilities VALUES (?, ?, ?, ?, ?)", (*key, ok, calls, at_ms))

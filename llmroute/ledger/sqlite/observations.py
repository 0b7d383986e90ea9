"""What calls have taught: latency, reliability, retry tokens, and open circuits.

Processes that live a second learn from each other here.  Everything is written in the transaction of the attempt that
taught it.  Time of day comes in as UTC milliseconds; a clock that jumps back counts as standing still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from llmroute.ledger.sqlite.breakers import close, learn_failure, open_breakers
from llmroute.ledger.statistics.decayed import (
    UNUSED_RETRIES,
    CachedInput,
    CheckCounts,
    OutputLengths,
    Reliability,
    RetryTokens,
)
from llmroute.ledger.statistics.latency import Latency, first
from llmroute.ledger.statistics.memory import SHORTEST_S, LatencyKey, LengthKey, cached_inputs, evidence, output_lengths
from llmroute.ledger.stats import CheckResult, Observation, StatsSnapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

Key = TypeVar("Key")


def recall(db: sqlite3.Connection, *, bucket: int, task: str = "", now_ms: int) -> StatsSnapshot:
    """Read what is known of calls of this size, decayed to now."""
    columns = ", ".join((*LatencyKey._fields, *Latency._fields))
    split = len(LatencyKey._fields)
    rows = db.execute(f"SELECT {columns} FROM latencies WHERE bucket = ?", (bucket,))  # noqa: S608 (own names)
    latencies = evidence(((LatencyKey(*row[:split]), Latency(*row[split:])) for row in rows), now_ms)
    rows = db.execute("SELECT provider, model, effort, task, answers, tokens, at_ms FROM output_lengths")
    lengths = output_lengths(((LengthKey(*row[:4]), OutputLengths(*row[4:])) for row in rows), task, now_ms)
    reliabilities = {}
    for provider, model, *counts in db.execute("SELECT provider, model, ok, calls, at_ms FROM reliabilities"):
        reliabilities[provider, model] = Reliability(*counts).decayed(now_ms)
    rows = db.execute("SELECT provider, model, task, tokens, cached, at_ms FROM cached_inputs")
    caches = cached_inputs(((row[:3], CachedInput(*row[3:])) for row in rows), task, now_ms)
    checks = _check_results(db, task, now_ms)
    return StatsSnapshot(latencies, lengths, reliabilities, open_breakers(db, now_ms), checks, caches)


def learn(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    """Take in what attempts taught, in their order; what many say of one thing is read once and written once."""
    _learn_latencies(db, lessons)
    learn_output_lengths(db, lessons)
    _learn_cached_inputs(db, lessons)
    _learn_reliabilities(db, lessons)
    # Models that are known to be well: nothing has been left to close since.
    well: set[tuple[str, str, str]] = set()
    for lesson in lessons:
        about = (lesson.provider, lesson.model, lesson.tier)
        if not lesson.succeeded:
            well = {other for other in well if other[0] != lesson.provider}
            learn_failure(db, lesson)
        elif about not in well:
            well.add(about)
            close(db, lesson)
    _earn_tokens(db, [lesson for lesson in lessons if lesson.succeeded])


def retry_tokens(db: sqlite3.Connection, provider: str, now_ms: int) -> float:
    """Return how many retries a provider has left."""
    return _tokens(db, provider).left(now_ms)


def spend_retry_token(db: sqlite3.Connection, provider: str, now_ms: int) -> None:
    """Take one of a provider's retries."""
    _set_tokens(db, provider, _tokens(db, provider).after_retry(now_ms))


def _earn_tokens(db: sqlite3.Connection, successes: Sequence[Observation]) -> None:
    for (provider,), own in _by(lambda lesson: (lesson.provider,), successes):
        before = _tokens(db, provider)
        after = before.after_successes(len(own), own[-1].at_ms)
        if after != before:
            _set_tokens(db, provider, after)


def _tokens(db: sqlite3.Connection, provider: str) -> RetryTokens:
    row = db.execute("SELECT tokens, at_ms FROM retry_tokens WHERE provider = ?", (provider,)).fetchone()
    return RetryTokens(*row) if row else UNUSED_RETRIES


def _set_tokens(db: sqlite3.Connection, provider: str, tokens: RetryTokens) -> None:
    db.execute("INSERT OR REPLACE INTO retry_tokens VALUES (?, ?, ?)", (provider, *tokens))


def _by(key: Callable[[Observation], Key], lessons: Iterable[Observation]) -> Iterable[tuple[Key, list[Observation]]]:
    """Group observations by their key, in order."""
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
    samples = [(max(seconds, SHORTEST_S), at_ms) for seconds, at_ms in observed if seconds is not None]
    if not samples:
        return
    row = db.execute(
        "SELECT weight, log_sum, at_ms, spread, trouble, slower, since_ms FROM latencies"
        " WHERE provider = ? AND model = ? AND effort = ? AND bucket = ? AND metric = ?",
        key,
    ).fetchone()
    known = Latency(*row) if row else None
    for seconds, at_ms in samples:
        known = known.joined(seconds, at_ms) if known else first(seconds, at_ms)
    assert known is not None
    db.execute("INSERT OR REPLACE INTO latencies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *known))


def learn_output_lengths(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    """Take in the lengths of complete answers, and nothing else of the observations."""
    measured = (lesson for lesson in lessons if lesson.output_tokens is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model, lesson.effort, lesson.task), measured):
        row = db.execute(
            "SELECT answers, tokens, at_ms FROM output_lengths"
            " WHERE provider = ? AND model = ? AND effort = ? AND task = ?",
            key,
        ).fetchone()
        known = OutputLengths(*row) if row else OutputLengths(0.0, 0.0, own[0].at_ms)
        for lesson in own:
            known = known.joined(lesson.output_tokens or 0, lesson.at_ms)
        db.execute("INSERT OR REPLACE INTO output_lengths VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, *known))


def _learn_cached_inputs(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    reported = (lesson for lesson in lessons if lesson.input_tokens is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model, lesson.task), reported):
        row = db.execute(
            "SELECT tokens, cached, at_ms FROM cached_inputs WHERE provider = ? AND model = ? AND task = ?", key
        ).fetchone()
        known = CachedInput(*row) if row else CachedInput(0.0, 0.0, own[0].at_ms)
        for lesson in own:
            known = known.joined(lesson.input_tokens or 0, lesson.cached_tokens, lesson.at_ms)
        db.execute("INSERT OR REPLACE INTO cached_inputs VALUES (?, ?, ?, ?, ?, ?)", (*key, *known))


def _learn_reliabilities(db: sqlite3.Connection, lessons: Sequence[Observation]) -> None:
    measured = (lesson for lesson in lessons if lesson.succeeded is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model), measured):
        row = db.execute("SELECT ok, calls, at_ms FROM reliabilities WHERE provider = ? AND model = ?", key).fetchone()
        known = Reliability(*row) if row else Reliability(0.0, 0.0, own[0].at_ms)
        for lesson in own:
            known = known.joined(lesson.at_ms, succeeded=bool(lesson.succeeded))
        db.execute("INSERT OR REPLACE INTO reliabilities VALUES (?, ?, ?, ?, ?)", (*key, *known))


def _check_results(db: sqlite3.Connection, task: str, now_ms: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return passed and checked answers to a task by (provider, model), faded to now."""
    rows = db.execute("SELECT provider, model, passed, checked, at_ms FROM check_results WHERE task = ?", (task,))
    return {(provider, model): CheckCounts(*counts).decayed(now_ms) for provider, model, *counts in rows}


def learn_check_results(db: sqlite3.Connection, results: Iterable[CheckResult]) -> None:
    """Take in the verdicts of checks, in their order."""
    for result in results:
        key = (result.provider, result.model, result.task)
        row = db.execute(
            "SELECT passed, checked, at_ms FROM check_results WHERE provider = ? AND model = ? AND task = ?", key
        ).fetchone()
        counts = CheckCounts(*row) if row else CheckCounts(0.0, 0.0, result.at_ms)
        joined = counts.joined(result.at_ms, passed=result.passed)
        db.execute("INSERT OR REPLACE INTO check_results VALUES (?, ?, ?, ?, ?, ?)", (*key, *joined))

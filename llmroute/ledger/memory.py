"""What calls have taught: latency, reliability, breakers and retry tokens.

Processes that live a second learn from each other here.  Everything is written in the transaction of the attempt that
taught it.  Time of day comes in as UTC milliseconds; a clock that jumps back counts as standing still.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from llmroute.ledger.latencies import Latency, faded, first

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

Key = TypeVar("Key")

RELIABILITY_HALF_LIFE_MS = 6 * 3_600_000
# Three failures within this long open a breaker that counts.
COUNTING_WINDOW_MS = 600_000
FAILURES_TO_OPEN = 3
HOUR_MS = 3_600_000
# Nothing is left alone for longer than this: what says so was written while the clock was ahead, and holds no more.
LONGEST_REST_MS = {"endpoint": HOUR_MS, "address": HOUR_MS, "key": HOUR_MS, "model": 24 * HOUR_MS}
# Until its fingerprint changes: a key that was refused does not mend by itself.
KEY_REFUSED = "key refused"
FOR_GOOD_MS = 10 * 365 * 24 * HOUR_MS
LONGEST_PROBE_MS = 25 * HOUR_MS

RETRY_TOKENS = 20.0
TOKENS_PER_SUCCESS = 0.2
TOKENS_PER_MS = 1 / 60_000


class Trip(NamedTuple):
    """Why and for how long something is to be left alone.

    `kind` is `key` or `address` (a whole provider), `endpoint` or `model` (one model).  `counts` opens only after three
    in ten minutes.  Each opening without a success between doubles `rest_ms`, up to `most_ms`.
    """

    kind: str
    reason: str
    rest_ms: int
    most_ms: int
    counts: bool = False


class Lesson(NamedTuple):
    """What one attempt taught.  Times are seconds; None teaches nothing of the kind."""

    provider: str
    model: str
    effort: str
    bucket: int
    at_ms: int
    fingerprint: str
    succeeded: bool | None = None
    ttft_s: float | None = None
    per_token_s: float | None = None
    trip: Trip | None = None
    answered: bool = False


class Breaker(NamedTuple):
    """Something that is left alone until `open_until_ms`; after that one caller tries it again."""

    kind: str
    provider: str
    model: str
    reason: str
    open_until_ms: int
    fingerprint: str | None
    probing: bool


class Recollection(NamedTuple):
    """What is known now.

    Latencies are what `Latency.evidence` says, by (provider, model, metric); `typical_latencies` are the seconds of
    every model and effort, by metric; reliabilities are (succeeded, called), both decayed.
    """

    latencies: dict[tuple[str, str, str], tuple[float, float, float, float, float, float]]
    typical_latencies: dict[str, list[float]]
    reliabilities: dict[tuple[str, str], tuple[float, float]]
    breakers: list[Breaker]

    @property
    def calls_per_h(self) -> float:
        """How many calls an hour there were lately, of all models."""
        return calls_per_h(sum(calls for _, calls in self.reliabilities.values()))


def recall(db: sqlite3.Connection, *, bucket: int, effort: str, now_ms: int) -> Recollection:
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
    typical = {metric: [latency.typical() for *_, latency in every] for metric, every in known.items()}
    reliabilities = {}
    for provider, model, ok, calls, at_ms in db.execute("SELECT provider, model, ok, calls, at_ms FROM reliabilities"):
        kept = faded(now_ms - at_ms, RELIABILITY_HALF_LIFE_MS)
        reliabilities[provider, model] = (ok * kept, calls * kept)
    return Recollection(latencies, typical, reliabilities, breakers(db, now_ms))


def calls_per_h(calls: float) -> float:
    """Return how many calls an hour make up a decayed count."""
    return calls * log(2) * HOUR_MS / RELIABILITY_HALF_LIFE_MS


def breakers(db: sqlite3.Connection, now_ms: int) -> list[Breaker]:
    """Return what is left alone now, or is being tried again by somebody."""
    columns = "kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0"  # noqa: S608 (own names)
    found = []
    for kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms in db.execute(sql):
        resting = _rests(kind, reason, open_until_ms, now_ms)
        probing = not resting and _probed(probe_until_ms, now_ms)
        if resting or probing:
            shown_ms = probe_until_ms if probing else open_until_ms
            found.append(Breaker(kind, provider, model, reason, shown_ms, fingerprint, probing))
    return found


def _rests(kind: str, reason: str, open_until_ms: int, now_ms: int) -> bool:
    longest_ms = FOR_GOOD_MS if reason == KEY_REFUSED else LONGEST_REST_MS[kind]
    return 0 < open_until_ms - now_ms <= longest_ms


def _probed(probe_until_ms: int | None, now_ms: int) -> bool:
    return probe_until_ms is not None and 0 < probe_until_ms - now_ms <= LONGEST_PROBE_MS


class Prober(NamedTuple):
    """Who would like to try again what was left alone, and until when it may take: one that dies lets go then.

    With `awake` it calls also what is left alone still: it planned to, or it has called already and tries once more.
    """

    owner: str
    now_ms: int
    until_ms: int
    fingerprint: str = ""
    awake: bool = False


def win_probe(db: sqlite3.Connection, provider: str, model: str, prober: Prober) -> bool:
    """Whether the caller may call: nothing is left alone, or it is the one that tries again."""
    now_ms = prober.now_ms
    half_open = []
    columns = "kind, provider, model, reason, open_until_ms, probe_owner, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0 AND provider = ? AND model IN (?, '') AND fingerprint = ?"  # noqa: S608 (own names)
    for *key, reason, open_until_ms, owner, probe_until_ms in db.execute(
        sql, (provider, model, prober.fingerprint)
    ).fetchall():
        if _rests(key[0], reason, open_until_ms, now_ms):
            if not prober.awake:
                # It has failed since the caller made its plan.
                return False
        elif owner != prober.owner and _probed(probe_until_ms, now_ms):
            return False
        else:
            half_open.append((prober.owner, prober.until_ms, *key))
    db.executemany(
        "UPDATE breakers SET probe_owner = ?, probe_until_ms = ? WHERE kind = ? AND provider = ? AND model = ?",
        half_open,
    )
    return True


def learn(db: sqlite3.Connection, lessons: Sequence[Lesson]) -> None:
    """Take in what attempts taught, in their order; what many say of one thing is read once and written once."""
    _learn_latencies(db, lessons)
    _learn_reliabilities(db, lessons)
    # Models that are known to be well: nothing has been left to close since.
    well: set[tuple[str, str]] = set()
    for lesson in lessons:
        about = (lesson.provider, lesson.model)
        if not lesson.succeeded:
            well = {other for other in well if other[0] != lesson.provider}
            _learn_failure(db, lesson)
        elif about not in well:
            well.add(about)
            _close(db, lesson)
    _earn_tokens(db, [lesson for lesson in lessons if lesson.succeeded])


def _learn_failure(db: sqlite3.Connection, lesson: Lesson) -> None:
    if lesson.answered:
        # Whatever it said, it could be reached.
        db.execute("DELETE FROM breakers WHERE kind = 'address' AND provider = ?", (lesson.provider,))
    db.execute(
        "UPDATE breakers SET probe_owner = NULL, probe_until_ms = NULL WHERE provider = ? AND model IN (?, '')",
        (lesson.provider, lesson.model),
    )
    if lesson.trip is not None:
        _trip(db, lesson, lesson.trip)


def retry_tokens(db: sqlite3.Connection, provider: str, now_ms: int) -> float:
    """Return how many retries a provider has left."""
    row = db.execute("SELECT tokens, at_ms FROM retry_tokens WHERE provider = ?", (provider,)).fetchone()
    return RETRY_TOKENS if row is None else min(RETRY_TOKENS, row[0] + max(now_ms - row[1], 0) * TOKENS_PER_MS)


def spend_retry_token(db: sqlite3.Connection, provider: str, now_ms: int) -> None:
    """Take one of a provider's retries."""
    _set_tokens(db, provider, max(retry_tokens(db, provider, now_ms) - 1, 0.0), now_ms)


def reset_breakers(db: sqlite3.Connection, provider: str) -> int:
    """Close every breaker of a provider; return how many there were."""
    return db.execute("DELETE FROM breakers WHERE provider = ?", (provider,)).rowcount


def _earn_tokens(db: sqlite3.Connection, successes: Sequence[Lesson]) -> None:
    for (provider,), own in _by(lambda lesson: (lesson.provider,), successes):
        now_ms = own[-1].at_ms
        tokens = retry_tokens(db, provider, now_ms)
        if tokens < RETRY_TOKENS:
            _set_tokens(db, provider, min(tokens + TOKENS_PER_SUCCESS * len(own), RETRY_TOKENS), now_ms)


def _set_tokens(db: sqlite3.Connection, provider: str, tokens: float, now_ms: int) -> None:
    db.execute("INSERT OR REPLACE INTO retry_tokens VALUES (?, ?, ?)", (provider, tokens, now_ms))


def _by(key: Callable[[Lesson], Key], lessons: Iterable[Lesson]) -> Iterable[tuple[Key, list[Lesson]]]:
    """Tell lessons apart by what they are about; their order is kept."""
    found: dict[Key, list[Lesson]] = {}
    for lesson in lessons:
        found.setdefault(key(lesson), []).append(lesson)
    return found.items()


def _learn_latencies(db: sqlite3.Connection, lessons: Sequence[Lesson]) -> None:
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


def _learn_reliabilities(db: sqlite3.Connection, lessons: Sequence[Lesson]) -> None:
    telling = (lesson for lesson in lessons if lesson.succeeded is not None)
    for key, own in _by(lambda lesson: (lesson.provider, lesson.model), telling):
        row = db.execute("SELECT ok, calls, at_ms FROM reliabilities WHERE provider = ? AND model = ?", key).fetchone()
        ok, calls, at_ms = row or (0.0, 0.0, own[0].at_ms)
        for lesson in own:
            kept = faded(lesson.at_ms - at_ms, RELIABILITY_HALF_LIFE_MS)
            ok, calls, at_ms = ok * kept + bool(lesson.succeeded), calls * kept + 1, lesson.at_ms
        db.execute("INSERT OR REPLACE INTO reliabilities VALUES (?, ?, ?, ?, ?)", (*key, ok, calls, at_ms))


def _close(db: sqlite3.Connection, lesson: Lesson) -> None:
    db.execute("DELETE FROM breakers WHERE provider = ? AND model IN (?, '')", (lesson.provider, lesson.model))


def _trip(db: sqlite3.Connection, lesson: Lesson, trip: Trip) -> None:
    now_ms = lesson.at_ms
    key = (trip.kind, lesson.provider, "" if trip.kind in ("key", "address") else lesson.model)
    row = db.execute(
        "SELECT failures, since_ms, trips, open_until_ms, reason FROM breakers"
        " WHERE kind = ? AND provider = ? AND model = ? AND fingerprint = ?",
        (*key, lesson.fingerprint),
    ).fetchone()
    failures, since_ms, trips, open_until_ms, reason = row or (0, now_ms, 0, 0, trip.reason)
    resting = _rests(trip.kind, reason, open_until_ms, now_ms)
    if not resting or trip.kind == "key":
        # Over, or from another time; of a key the last word holds.
        open_until_ms = 0
    if not 0 <= now_ms - since_ms <= COUNTING_WINDOW_MS and not trips:
        failures, since_ms = 0, now_ms
    failures += 1
    if not trip.counts or failures >= FAILURES_TO_OPEN or trips:
        # Who fails again while it should rest, in the same request or beside it, has not opened once more.
        trips += not (resting and trips)
        rest_ms = min(trip.rest_ms * 2 ** min(trips - 1, 20), trip.most_ms)
        open_until_ms = max(open_until_ms, now_ms + rest_ms)
    db.execute(
        "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (*key, trip.reason, failures, since_ms, trips, open_until_ms, lesson.fingerprint),
    )

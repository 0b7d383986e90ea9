"""The statistics of a server: its memory and the lessons since, folded by every client for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import LedgerError
from llmroute.ledger.postgres.entries import as_json, observation_of
from llmroute.ledger.postgres.errors import require_client, without_data
from llmroute.ledger.postgres.schema.migrations import CLIENT_VERSION
from llmroute.ledger.postgres.shared_caps import of_json
from llmroute.ledger.statistics.breakers import CircuitKey
from llmroute.ledger.statistics.memory import Memory
from llmroute.ledger.statistics.values import CheckResult

if TYPE_CHECKING:
    from llmroute.ledger.budgets import SharedCap
    from llmroute.ledger.postgres.connection import ServerConnection

# So many lessons, or sums that are not merged, and a client folds or merges them.
MANY_LESSONS = 64
MANY_DELTAS = 1_000
MERGED_AT_ONCE = 2_000
DAYS_AT_ONCE = 7


class Recollection(NamedTuple):
    """The statistics and caps of a server at `now_ms` of its clock.

    `lesson_ids` are folded into `version` of the memory here only; `trips` are those of them that change circuits, by
    provider.  `given_up` attempts of dead hosts were settled just now.
    """

    memory: Memory
    now_ms: int
    version: int
    lesson_ids: list[int]
    trips: dict[str, list[int]]
    unmerged: int
    given_up: int
    schema_version: int
    caps: tuple[SharedCap, ...]
    caps_version: int

    @property
    def needs_upkeep(self) -> bool:
        """Whether a client should fold or merge, once its answer is out."""
        return len(self.lesson_ids) > MANY_LESSONS or self.unmerged > MANY_DELTAS

    def seen(self, provider: str) -> tuple[int, int, list[int]]:
        """Return the keys of the circuits of a provider; older schemas use the first two."""
        return self.version, max(self.lesson_ids, default=0), self.trips.get(provider, [])


def recall(connection: ServerConnection) -> Recollection:
    """Read everything in one round trip, which settles the attempts of dead hosts too.

    Raises:
        LedgerError: the server cannot be reached, or its schema is for newer clients only or lacks its first rows.
    """
    try:
        result = connection.call("recall_1")
    except LedgerError as error:
        # No entry was in it.
        error.unanswered = False
        raise
    if result is None or result["caps_version"] is None:
        raise without_data(connection.address)
    connection.clock.set(result["now_ms"], connection.sent_ms)
    require_client(result["oldest_client"], CLIENT_VERSION, connection.address)
    memory = Memory.of_json(result["state"])
    for _, lesson in result["lessons"]:
        _fold(memory, lesson)
    for kind, provider, model, owner, until_ms in result["probes"]:
        key = CircuitKey(kind, provider, model)
        if key in memory.circuits:
            memory.circuits[key] = memory.circuits[key]._replace(probe_owner=owner, probe_until_ms=until_ms)
    ids = [number for number, _ in result["lessons"]]
    trips: dict[str, list[int]] = {}
    for number, lesson in result["lessons"]:
        if lesson.get("trip") or lesson.get("kind") == "reset":
            trips.setdefault(lesson["provider"], []).append(number)
    return Recollection(
        memory,
        result["now_ms"],
        result["version"],
        ids,
        trips,
        result["unmerged"],
        # A schema of an older version, which only its owner can migrate, has neither.
        result.get("given_up", 0),
        result.get("schema_version", 0),
        of_json(result["caps"]),
        result["caps_version"],
    )


def upkeep(connection: ServerConnection, known: Recollection) -> None:
    """Fold the lessons that were read, unless another client did, and merge sums.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    if known.lesson_ids:
        folded = as_json(known.memory.as_json())
        connection.call("fold_1", known.version, folded, known.lesson_ids)
    merge(connection)


def merge(connection: ServerConnection) -> None:
    """Merge the sums that wait, MERGED_AT_ONCE in a transaction.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    # Of a schema older than version 6, for which autovacuum saw few sums and many were added since, the server would
    # join them by nested loops, for minutes; behind pgbouncer, the session may have such a plan.
    settings = "set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_nestloop', 'off', true)"
    sql = f"SELECT {settings}; SELECT {connection.schema}.merge_1(%s)"
    while connection.execute(sql, (MERGED_AT_ONCE,)).fetchone() == (MERGED_AT_ONCE,):
        pass


def fill(connection: ServerConnection) -> None:
    """Fill the sums that a migration added, in short transactions, the newest days first.

    Raises:
        LedgerError: the server cannot be reached, or the role may not write.
    """
    row = connection.execute(f"SELECT since_day FROM {connection.schema}.coarse").fetchone()  # noqa: S608 (own name)
    if row is not None and row[0] > 0:
        while connection.call_at_length("fill_1", DAYS_AT_ONCE) > 0:
            pass


def _fold(memory: Memory, lesson: dict[str, Any]) -> None:
    match lesson.get("kind"):
        case None:
            memory.learn(observation_of(lesson))
        case "check":
            memory.learn(CheckResult(**{name: lesson[name] for name in CheckResult._fields}))
        case "retry":
            memory.spend_retry(lesson["provider"], lesson["at_ms"])
        case "moved":
            memory.add(Memory.of_json(lesson["state"]))
        case "reset":
            memory.reset(lesson["provider"])

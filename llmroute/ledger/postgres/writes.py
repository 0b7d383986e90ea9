"""Write entries: a group in one call, which is one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import CircuitOpenError, LedgerError
from llmroute.ledger.entries import Pending
from llmroute.ledger.postgres.bounded_connection import LOCK_MARGIN_S, REPLY_S
from llmroute.ledger.postgres.entries import Outdated, as_json, begin_json, outcome_of, settle_json, windows_of
from llmroute.ledger.postgres.errors import is_of_one_row, outdated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from llmroute.ledger.entries import LedgerEntry, Refusal
    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.postgres.statistics import Recollection

    class Recall(Protocol):
        """Returns the state of circuits that the caller knows, `anew` from the server."""

        def __call__(self, *, anew: bool) -> Recollection:
            """Return them."""


# How often circuits are read anew for an attempt, because others changed them after that.
_LOOKS = 3


class WriteLimits(NamedTuple):
    """How long a write waits for locks, and the version of the shared caps that its attempts obey, None for any."""

    lock_timeout_ms: int
    caps_version: int | None


def write(
    connection: ServerConnection,
    entries: Sequence[LedgerEntry],
    recall: Recall,
    limits: WriteLimits,
) -> list[LedgerError | Refusal | None]:
    """Write entries in order; return for each its error or refusal, None if it is written.

    The error of one entry does not keep the others out.

    Raises:
        OutdatedCapsError: an attempt begins, and shared caps are of another version.
        LedgerError: the server cannot be reached, or does not write.
    """
    if not any(isinstance(entry, Pending) for entry in entries):
        limits = limits._replace(caps_version=None)
    outcomes: list[LedgerError | Refusal | None] = [None] * len(entries)
    left = [*range(len(entries))]
    for number in range(_LOOKS):
        claims = any(_claims(entries[place]) for place in left)
        known = recall(anew=number > 0) if claims else None
        results = _written(connection, [entries[place] for place in left], known, limits)
        outdated = []
        for place, outcome in zip(left, results, strict=True):
            if isinstance(outcome, Outdated):
                outdated.append(place)
            else:
                outcomes[place] = outcome
        left = outdated
        if not left:
            return outcomes
    for place in left:
        outcomes[place] = CircuitOpenError("the circuits of the model keep changing")
    return outcomes


def _claims(entry: LedgerEntry) -> bool:
    return isinstance(entry, Pending) and entry.claim is not None


def _written(
    connection: ServerConnection, entries: Sequence[LedgerEntry], known: Recollection | None, limits: WriteLimits
) -> list[LedgerError | Refusal | Outdated | None]:
    """Write a group in one transaction; where the values of one of them do not fit, each by itself."""
    outcomes: list[LedgerError | Refusal | Outdated | None] = [None] * len(entries)
    places, requests = [], []
    for place, entry in enumerate(entries):
        one = _request_of(entry, known)
        if isinstance(one, CircuitOpenError):
            outcomes[place] = one
        else:
            places.append(place)
            requests.append(one)
    if not places:
        return outcomes
    windows = windows_of([entries[place] for place in places])
    try:
        within_s = max(limits.lock_timeout_ms / 1000 + LOCK_MARGIN_S, REPLY_S)
        results = connection.call("write_1", as_json(requests), as_json(windows), *limits, within_s=within_s)
    except LedgerError as error:
        if not is_of_one_row(error.__cause__):
            raise
        if len(entries) == 1:
            return [error]
        return [_written(connection, [entry], known, limits)[0] for entry in entries]
    if results is None:
        raise outdated(connection.address)
    for place, one in zip(places, results, strict=True):
        outcomes[place] = outcome_of(entries[place], one)
    return outcomes


def _request_of(entry: LedgerEntry, known: Recollection | None) -> dict[str, Any] | CircuitOpenError:
    """Return the parameters that are sent for an entry, or its refusal by a circuit that is known to be open."""
    if not isinstance(entry, Pending):
        return settle_json(entry)
    if entry.claim is None:
        return begin_json(entry, (), ())
    assert known is not None
    circuits = known.memory.half_open(entry.row.provider, entry.row.model, entry.claim)
    if circuits is None:
        return CircuitOpenError("the circuit is half-open: another request is probing the model")
    return begin_json(entry, circuits, known.seen(entry.row.provider))

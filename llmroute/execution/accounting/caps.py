"""The caps of the configuration and of the ledger in their windows at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from llmroute.config import Limit
    from llmroute.execution.accounting.ledger_access import LedgerAccess
    from llmroute.ledger.budgets import Cap, SharedCap


class CapsInForce:
    """The caps of the configuration, and those that the ledger keeps for all hosts, as this host last saw them."""

    def __init__(self, access: LedgerAccess, limits: Sequence[Limit]) -> None:
        self._access = access
        self._limits = tuple(limits)

    def known(self) -> list[Limit] | None:
        """Return them all; None where those of the ledger are unknown."""
        shared = self._access.shared_caps()
        return None if shared is None else [*self._limits, *map(limit_of, shared)]

    def limits(self) -> list[Limit]:
        """Return them all.

        Raises:
            BudgetExceededError: those of the ledger are unknown.
        """
        known = self.known()
        if known is not None:
            return known
        unknown = f"the budgets of {self._access.name} are unknown: this host never reached it; nothing was sent"
        why = self._access.read_error
        if why is None:
            raise BudgetExceededError(unknown, hint="check it with llmroute health")
        raise BudgetExceededError(f"{unknown}: {why.message}", hint=why.hint)


def limit_of(cap: SharedCap) -> Limit:
    """Return the limit that a shared cap sets."""
    from llmroute.config import Limit

    return Limit(cap.period, cap.workspace, cap.cap_picousd, cap.zone)


def current_caps(limits: Sequence[Limit], now_ms: int) -> list[Cap]:
    """Return the caps in their windows, of the user's own time zone where a limit has none.

    Windows begin with a bucket of the sums, also where the clock of a zone is not at a whole quarter of an hour then.

    Raises:
        LedgerError: this machine does not know the time zone of a limit.
    """
    if not limits:
        return []
    from datetime import UTC, datetime

    from llmroute.ledger.buckets import BUCKET_MS, bucket_start_ms
    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.periods import milliseconds, window

    # The end of the bucket: a window that begins within it has all of it.
    moment = datetime.fromtimestamp((bucket_start_ms(now_ms) + BUCKET_MS - 1) / 1000, UTC)
    caps = []
    for limit in limits:
        begin, end = window(limit.period, moment.astimezone(_zone(limit.zone) if limit.zone else None))
        caps.append(
            Cap(
                limit.period,
                limit.workspace,
                limit.cap_picousd,
                0 if begin is None else bucket_start_ms(milliseconds(begin)),
                None if end is None else bucket_start_ms(milliseconds(end)),
            )
        )
    return caps


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise LedgerError(f"a shared budget is in the time zone {name}, unknown here", hint="install tzdata") from error

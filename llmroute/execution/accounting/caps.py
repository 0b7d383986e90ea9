"""The caps of the configuration and of the ledger in their windows at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from llmroute.config import Limit
    from llmroute.ledger.budgets import Cap, SharedCap


def current_caps(limits: Sequence[Limit], now_ms: int) -> list[Cap]:
    """Return the caps in their windows, of the user's own time zone where a limit has none.

    Raises:
        LedgerError: this machine does not know the time zone of a limit.
    """
    if not limits:
        return []
    from datetime import UTC, datetime

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.periods import milliseconds, window

    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    caps = []
    for limit in limits:
        begin, end = window(limit.period, moment.astimezone(_zone(limit.zone) if limit.zone else None))
        caps.append(
            Cap(
                limit.period,
                limit.workspace,
                limit.cap_picousd,
                0 if begin is None else milliseconds(begin),
                None if end is None else milliseconds(end),
            )
        )
    return caps


def limit_of(cap: SharedCap) -> Limit:
    """Return the limit that a shared cap sets."""
    from llmroute.config import Limit

    return Limit(cap.period, cap.workspace, cap.cap_picousd, cap.zone)


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise LedgerError(f"a shared budget is in the time zone {name}, unknown here", hint="install tzdata") from error

"""The caps of the configuration as they stand at a moment: each in its window of the user's own time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.config import Limit
    from llmroute.ledger.budgets import Cap


def current_caps(limits: Sequence[Limit], now_ms: int) -> list[Cap]:
    """Return the caps in their windows of the user's own time zone."""
    if not limits:
        return []
    from datetime import datetime

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.periods import milliseconds, window

    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    caps = []
    for limit in limits:
        begin, end = window(limit.period, now)
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

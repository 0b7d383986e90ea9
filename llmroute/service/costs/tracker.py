"""LLMTracker: costs by workspace and by day, for programs."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger.buckets import NO_END_MS
from llmroute.ledger.opening import bring_up_to_date, is_ledger, snapshot_of
from llmroute.ledger.periods import PERIODS, milliseconds, start_of
from llmroute.ledger_location import LedgerLocation, is_server, require_path
from llmroute.request.fields import require_one_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from llmroute.ledger.port import LedgerPort, LedgerSnapshot
    from llmroute.ledger.reports import Line

    T = TypeVar("T")


class LLMTracker:
    """Reads costs from a ledger; days and periods are those of the user's time zone."""

    def __init__(self, ledger: LedgerPort | str | PathLike[str] | None = None) -> None:
        """Read from `ledger`, open or a path, else from the configured one; a file is opened for each call.

        Raises:
            RequestError: `ledger` is something else.
        """
        if ledger is not None and not isinstance(ledger, str | PathLike) and not is_ledger(ledger):
            raise RequestError(f"ledger is a {type(ledger).__name__}, where a llmroute.Ledger or a path is needed")
        self._named = ledger if isinstance(ledger, str | PathLike) else None
        self._ledger = None if isinstance(ledger, str | PathLike) else ledger

    async def get_workspace_costs(self, workspace: str, period: str = "month") -> dict[str, Any]:
        """Return the cost of a workspace in the current day, week, month, year, or in all.

        `total_cost` is USD; calls of unknown cost are not in it, and are counted in `unknown_cost_count`.

        Raises:
            RequestError: there is no such period.
            LedgerError: the ledger cannot be read.
        """
        require_one_of("period", period, PERIODS)
        now = datetime.now().astimezone()
        since = start_of(period, now)
        # With calls that were made while the clock was ahead.
        since_ms, until_ms = (None, NO_END_MS) if since is None else (milliseconds(since), milliseconds(now))
        lines = await self._query(lambda reading: _by_model(reading, since_ms, until_ms, workspace))
        return _as_dict(lines)

    async def get_daily_costs(self, workspace: str | None = None, days: int = 30) -> list[dict[str, Any]]:
        """Return a line for each of the last days, oldest first, today last; days without a call are in it as zero.

        Raises:
            RequestError: `days` is not a number from 1 to 3660.
            LedgerError: the ledger cannot be read.
        """
        if not 1 <= days <= 3660:  # noqa: PLR2004 (ten years)
            raise RequestError(f"days {days} is not between 1 and 3660")
        now = datetime.now().astimezone()
        starts = [start_of("day", now - timedelta(days=back)) for back in range(days - 1, -1, -1)]
        begins = [start for start in starts if start is not None]
        ends = [*begins[1:], now]

        def read(reading: LedgerSnapshot) -> list[list[Line]]:
            return [
                _by_model(reading, milliseconds(begin), milliseconds(end), workspace)
                for begin, end in zip(begins, ends, strict=True)
            ]

        response = await self._query(read)
        by_day = response or [[] for _ in begins]
        return [
            {"date": begin.date().isoformat(), **_as_dict(lines)} for begin, lines in zip(begins, by_day, strict=True)
        ]

    async def _query(self, query: Callable[[LedgerSnapshot], list[T]]) -> list[T]:
        import asyncio

        return await asyncio.to_thread(self._query_blocking, query)

    def _query_blocking(self, query: Callable[[LedgerSnapshot], list[T]]) -> list[T]:
        now = datetime.now().astimezone()
        if self._ledger is not None:
            bring_up_to_date(self._ledger, milliseconds(now))
            with self._ledger.snapshot() as reading:
                return query(reading)
        with self._snapshot(now) as found:
            return [] if found is None else query(found)

    def _snapshot(self, now: datetime) -> AbstractContextManager[LedgerSnapshot | None]:
        if self._named is not None and not is_server(os.fspath(self._named)):
            require_path(os.fspath(self._named), "ledger")
            location = LedgerLocation(Path(self._named))
            return snapshot_of(location, milliseconds(now), capped=False, wait_s=LOCK_WAIT_S)
        from llmroute.planning.settings import load
        from llmroute.service.ledger_opening import snapshot

        config = load()
        return snapshot(config if self._named is None else config.with_ledger(self._named), now)


def get_llm_tracker(ledger: LedgerPort | str | PathLike[str] | None = None) -> LLMTracker:
    """Return a tracker over `ledger`, open or a file's path, or over the configured one."""
    return LLMTracker(ledger)


def _by_model(reading: LedgerSnapshot, since_ms: int | None, until_ms: int, workspace: str | None) -> list[Line]:
    from llmroute.ledger.reports import by_model

    return by_model(reading, since_ms, until_ms, workspace)


def _as_dict(lines: list[Line]) -> dict[str, Any]:
    from llmroute.ledger.reports import total

    sums = total(lines)
    return {
        "total_cost": sums.cost_usd,
        "unknown_cost_count": sums.unknown_cost_count,
        "total_tokens": sums.input_tokens + sums.output_tokens,
        "call_count": sums.call_count,
        "failed_count": sums.failed_count,
        "rejected_count": sums.rejected_count,
        "by_model": [
            {
                **line.key,
                "cost_usd": line.cost_usd,
                "call_count": line.call_count,
                "input_tokens": line.input_tokens,
                "output_tokens": line.output_tokens,
            }
            for line in lines
        ],
    }

"""Caps and their status: values and their description."""

from __future__ import annotations

from typing import NamedTuple

from llmroute.types import PICO_PER_USD

EVERY_WORKSPACE = ""


class Cap(NamedTuple):
    """A cap in its current window.  `workspace` is empty for all calls; `end_ms` is None for a window without end."""

    period: str
    workspace: str
    cap_picousd: int
    start_ms: int
    end_ms: int | None


class SharedCap(NamedTuple):
    """A cap that a server keeps for all its hosts; its windows are those of a time zone, by its IANA name."""

    workspace: str
    period: str
    cap_picousd: int
    zone: str


class BudgetStatus(NamedTuple):
    """The amount spent under a cap, and the amount that pending attempts reserve."""

    cap: Cap
    spent_picousd: int
    reserved_picousd: int

    @property
    def left_picousd(self) -> int:
        """The most that the next attempt may cost."""
        return self.cap.cap_picousd - self.spent_picousd - self.reserved_picousd

    @property
    def over_picousd(self) -> int:
        """By how much the cap is exceeded, as after it was lowered."""
        return max(-self.left_picousd, 0)

    def is_near(self, warn_at: float) -> bool:
        """Whether at least the share `warn_at` of the cap, and anything, is spent; a share of 0 is never near."""
        return warn_at > 0 and 0 < self.spent_picousd >= self.cap.cap_picousd * warn_at


def describe(standing: BudgetStatus) -> str:
    """Describe the status of a cap for messages."""
    cap = standing.cap
    scope = f" of workspace {cap.workspace}" if cap.workspace else ""
    per = "in all" if cap.period == "total" else f"a {cap.period}"
    reset = ""
    if cap.end_ms is not None:
        from datetime import UTC, datetime

        reset = f"; resets on {datetime.fromtimestamp(cap.end_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"
    return (
        f"the budget{scope} of {dollars(cap.cap_picousd)} {per} has {dollars(max(standing.left_picousd, 0))} left"
        f" ({dollars(standing.spent_picousd)} spent, {dollars(standing.reserved_picousd)} reserved{reset})"
    )


def near_cap_warning(status: BudgetStatus) -> str:
    """Return the warning that most of a cap is spent."""
    cap = status.cap.cap_picousd
    percent = status.spent_picousd * 100 // cap if cap else 100
    return f"warning: {percent}% of a budget is spent: {describe(status)}"


def dollars(picousd: int) -> str:
    """Format pico-USD as USD, with two decimals or as many as are needed."""
    whole, part = divmod(abs(picousd), PICO_PER_USD)
    digits = f"{part:012d}".rstrip("0").ljust(2, "0")
    return f"{'-' if picousd < 0 else ''}${whole:,}.{digits}"

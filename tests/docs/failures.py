"""The table of failures in docs/fallback.md, from the rules that the program follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import COUNTING_WINDOW_MS, FAILURES_TO_OPEN, FOR_GOOD_MS
from llmroute.routing.fallback import RULES

if TYPE_CHECKING:
    from llmroute.circuits import BreakerRule

RETRY = {
    "never": "no",
    "once": "once, after about 0.5 s",
    "when requested": "once, after `Retry-After` (or 1 s)",
    "when broken off": "once, if the connection broke",
    "adapted": "once, with the parameter changed",
    "repaired": "once, with the errors, to correct it",
}
NEXT = {
    "any": "any",
    "other provider first": "another provider's first",
    "other provider": "another provider's only",
    "larger window": "one with a larger context window",
    "that takes it": "one that accepts the parameter",
    "that may end it": "any; one that may be longer, if it was cut at a limit",
    "when allowed": "only with `--fallback-on content`",
    "never": "none",
}
SCOPE = {"key": "provider (this key)", "address": "provider", "endpoint": "model", "model": "model"}


def failure_table() -> str:
    """Return a row for each class of failure."""
    lines = [
        "| error | `type` | exit | same model again | next model | circuit opens |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for error, rule in RULES.items():
        cells = (f"`{error.__name__}`", f"`{error.kind}`", str(error.exit_code), RETRY[rule.again], NEXT[rule.next])
        lines.append(f"| {' | '.join(cells)} | {_circuit(rule.trip)} |")
    return "\n".join(lines) + "\n"


def _circuit(trip: BreakerRule | None) -> str:
    return "no" if trip is None else f"{SCOPE[trip.kind]}, {_how_long(trip)}"


def _how_long(trip: BreakerRule) -> str:
    if trip.rest_ms == FOR_GOOD_MS:
        return "until the key changes"
    longest = "" if trip.most_ms == trip.rest_ms else f" to {_duration(trip.most_ms)}"
    counted = f", after {FAILURES_TO_OPEN} failures in {_duration(COUNTING_WINDOW_MS)}" if trip.counts else ""
    return f"{_duration(trip.rest_ms)}{longest}{counted}"


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

"""What the dates of models and of the catalogue mean today, and who succeeds whom."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.types import ModelConfig

Status = Literal["active", "deprecated", "retiring", "retired"]
WARNED = timedelta(days=30)
STALE_AFTER = timedelta(days=60)
WARN_EVERY = timedelta(days=7)


def lifecycle(model: ModelConfig, today: date) -> Status:
    """Return the model's status on a day; `retiring` is within 30 days of its end, and its last day counts as over."""
    if model.retires_on is not None:
        ends = date.fromisoformat(model.retires_on)
        if today >= ends:
            return "retired"
        if today >= ends - WARNED:
            return "retiring"
    if model.deprecated_on is None:
        # An end that was announced, on a day that no source tells.
        return "active" if model.retires_on is None else "deprecated"
    if today >= date.fromisoformat(model.deprecated_on):
        return "deprecated"
    return "active"


def living_successor(model: ModelConfig, today: date, find: Callable[[str], ModelConfig | None]) -> ModelConfig | None:
    """Follow the successors of a model to the first that is not retired; None where there is none.

    `find` returns the model of a `provider/id`.  A chain that bites its own tail ends.
    """
    seen = {model.name}
    while model.successor is not None and model.successor not in seen:
        seen.add(model.successor)
        successor = find(model.successor)
        if successor is None:
            return None
        if lifecycle(successor, today) != "retired":
            return successor
        model = successor
    return None


def notice(model: ModelConfig, today: date, successor: ModelConfig | None) -> str | None:
    """Say that a model is retired or retires within 30 days, and what succeeds it; None where it does neither."""
    status = lifecycle(model, today)
    if status not in ("retired", "retiring"):
        return None
    word = "was retired" if status == "retired" else "retires"
    follows = f"{successor.name} succeeds it" if successor else "nothing succeeds it"
    return f"{model.name} {word} on {model.retires_on}; {follows}"


def stale_warning(as_of: str, today: date, last_warned: date | None) -> str | None:
    """Say once a week that a catalogue is older than 60 days; None at any other time."""
    age = today - date.fromisoformat(as_of)
    if age <= STALE_AFTER or (last_warned is not None and today - last_warned < WARN_EVERY):
        return None
    return f"the catalogue of models is {age.days} days old (llmroute models refresh brings it up to date)"

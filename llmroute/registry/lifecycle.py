"""Model lifecycle: status on a day, successors, and warnings about retirement and a stale catalogue."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from llmroute.errors import ModelRetiredError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.types import ModelConfig

Status = Literal["active", "deprecated", "retiring", "retired"]
NOTICE_PERIOD = timedelta(days=30)
STALE_AFTER = timedelta(days=60)
WARNING_INTERVAL = timedelta(days=7)


def lifecycle(model: ModelConfig, today: date) -> Status:
    """Return the model's status on a day: `retiring` within 30 days of its retirement, `retired` from that day on."""
    if model.retires_on is not None:
        retires_on = date.fromisoformat(model.retires_on)
        if today >= retires_on:
            return "retired"
        if today >= retires_on - NOTICE_PERIOD:
            return "retiring"
    if model.deprecated_on is None:
        # Without a date of deprecation, a model whose retirement was announced is deprecated.
        return "active" if model.retires_on is None else "deprecated"
    if today >= date.fromisoformat(model.deprecated_on):
        return "deprecated"
    return "active"


def current_successor(model: ModelConfig, today: date, get: Callable[[str], ModelConfig | None]) -> ModelConfig | None:
    """Follow the successors of a model to the first that is not retired; None where there is none.

    `get` returns the model of a `provider/id`.  A circular chain of successors ends at the first repetition.
    """
    seen = {model.name}
    while model.successor is not None and model.successor not in seen:
        seen.add(model.successor)
        successor = get(model.successor)
        if successor is None:
            return None
        if lifecycle(successor, today) != "retired":
            return successor
        model = successor
    return None


def notice(model: ModelConfig, today: date, successor: ModelConfig | None) -> str | None:
    """Return a notice for a model that is retired or retires within 30 days, with its successor; otherwise None."""
    status = lifecycle(model, today)
    if status not in ("retired", "retiring"):
        return None
    verb = "was retired" if status == "retired" else "retires"
    consequence = f"its successor is {successor.name}" if successor else "it has no successor"
    return f"{model.name} {verb} on {model.retires_on}; {consequence}"


def retired_error(model: ModelConfig, today: date, successor: ModelConfig | None) -> ModelRetiredError:
    """Return the error for a request of a retired model."""
    hint = f"use {successor.name}" if successor else "choose another model: llmroute models"
    return ModelRetiredError(notice(model, today, successor) or f"{model.name} is retired", hint=hint)


def stale_warning(as_of: str, today: date, last_warned: date | None) -> str | None:
    """Return a warning, at most once a week, that the catalogue is older than 60 days; otherwise None."""
    age = today - date.fromisoformat(as_of)
    if age <= STALE_AFTER or (last_warned is not None and today - last_warned < WARNING_INTERVAL):
        return None
    return f"the model catalogue is {age.days} days old; update it with: llmroute models refresh"

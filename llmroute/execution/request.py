"""A planned request: its labels, and the context that its attempts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Timeouts
    from llmroute.execution.accounting.budget import RequestBudget
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.clock import Clock
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.planning.endpoints import Endpoints
    from llmroute.planning.local.local_models import LocalModels
    from llmroute.routing.actions import Policy
    from llmroute.routing.plan import Plan
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import AttemptRecord, Check, Prompt


class Labels(NamedTuple):
    """Labels of the request in the ledger."""

    task: str | None = None
    workspace: str | None = None
    execution: str | None = None


class RequestContext(NamedTuple):
    """A planned request, with everything that the flow needs.

    `now_ms` is the time of day in UTC milliseconds. `paced` means that the caller limits the concurrent calls of each
    provider, so that a rate-limited provider is still called. `atomic` holds a streamed answer back until it is
    complete, so that fallback is possible until its end. `others` returns or computes the rest of the plan, whose
    entries are further fallbacks; it may block. `local` has the local server's models.
    `on_attempt` receives the record of each attempt that has ended. `patience` is how long the request may wait for the
    ledger. `check` accepts or rejects a complete answer. `is_closed` is whether the program has
    closed the connections of the request, after which no attempt follows.
    """

    id: str
    prompt: Prompt
    size: PromptSize
    plan: Plan
    policy: Policy
    timeouts: Timeouts
    labels: Labels
    endpoints: Endpoints
    writer: LedgerWriter
    note: Callable[[str], None]
    trace: Callable[[str], None]
    clock: Clock
    now_ms: Callable[[], int]
    budget: RequestBudget
    on_attempt: Callable[[AttemptRecord], None]
    local: LocalModels
    patience: LockTimeout
    others: Callable[[], Plan] | None = None
    atomic: bool = False
    paced: bool = False
    check: Check | None = None
    is_closed: Callable[[], bool] = lambda: False

"""A line that is ready to be reserved: its model, its attempt as a pending row, and its text for the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import RequestBudget, Reservation
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.jobs import JobLine
from llmroute.planning.usage_cost import price_as_json, storable
from llmroute.registry.pricing import price_of_service
from llmroute.routing.parameters import refused, without
from llmroute.types import BATCH, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.jobs.context import JobContext
    from llmroute.ledger.budgets import Cap
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Plan, RankedCandidate
    from llmroute.types import Price
    from llmroute.worst_case import WorstCase

KEPT_MS = 35 * 86_400_000
"""How long after the deadline of its job a line stays reserved if nothing collects it: as long as results are kept."""


class Draft(NamedTuple):
    """A line before it has a place in a job.

    `worst` is its worst case where a budget binds, which `reservation` holds; `body` is the request body.
    """

    position: int
    line_id: str
    request: RenderedRequest
    plan: Plan
    price: Price
    worst: WorstCase | None
    reservation: Reservation | None
    max_tokens: int | None
    body: bytes

    @property
    def entry(self) -> RankedCandidate:
        """The model that the line is for."""
        return self.plan.entries[0]

    def release(self) -> None:
        """Release the reservation of the line in the shared budget."""
        if self.reservation is not None:
            self.reservation.release()


def batch_price(entry: RankedCandidate) -> Price:
    """Return the price of a model at the batch API of its provider.

    Raises:
        RequestError: it has none.
    """
    price = entry.candidate.price
    if price is None or BATCH not in entry.candidate.tiers:
        raise RequestError(f"{entry.model.name} has no known price at a batch API", option="tier")
    return price_of_service(price, Service(BATCH))[0]


def draft(context: JobContext, position: int, line_id: str, request: RenderedRequest, plan: Plan) -> Draft:
    """Render a line for the first model of its plan, and hold its worst case in the budgets of the run and the line.

    Raises:
        BudgetExceededError: it does not fit, or the caps of the ledger are unknown; nothing is held.
        RequestError: the model has no batch price, or the answer would have to be checked by a check of the caller.
    """
    if request.options.check is not None:
        raise RequestError("batch jobs take no check: use another tier", option="check")
    entry = plan.entries[0]
    model, price = entry.model, batch_price(entry)
    worst = reservation = None
    budget = RequestBudget(request.options.budget_picousd, context.shared_budget)
    max_tokens = request.prompt.max_tokens
    if budget.bounded or context.writer.caps.limits():
        reservation = Reservation(model.name, entry.candidate.worst, budget, whole=True)
        worst = _whole(reservation.bounded())
        max_tokens = worst.most_tokens if worst.token_picousd else max_tokens
    left_out = refused(request.prompt, model.parameters)
    for words in left_out.values():
        context.note(f"{model.name} takes no {words}; sent without")
    prompt = without(request.prompt, left_out)._replace(tier=None, max_tokens=max_tokens)
    rendered = context.endpoints.connect(model.provider).render_request(prompt, model)
    body = rendered.body or b"{}"
    return Draft(position, line_id, request, plan, price, worst, reservation, max_tokens, body)


def _whole(worst: WorstCase) -> WorstCase:
    """Return a worst case that is admitted as it is, or not at all."""
    return worst._replace(least_tokens=worst.most_tokens)


def worst_under(made: Draft, caps: Sequence[Cap]) -> WorstCase | None:
    """Return the worst case that caps limit, which may not have been there when the line was made; None without any."""
    worst = made.entry.candidate.worst
    return made.worst or (_whole(worst) if caps and worst is not None else None)


def job_line(made: Draft, n: int) -> JobLine:
    """Return the line of a draft in a job."""
    size = made.request.size.for_model(made.entry.model)
    return JobLine(
        n=n,
        position=made.position,
        line_id=made.line_id,
        state="reserved",
        expected_input=size.expected_input,
        worst_input=size.worst_input,
        max_tokens=made.max_tokens,
        expected_output=made.entry.candidate.output.tokens,
    )


def pending_row(context: JobContext, made: Draft, request_id: str, deadline_ms: int) -> AttemptRow:
    """Return the attempt of a line, which no process owns: its job does."""
    entry, options = made.entry, made.request.options
    labels = context.factory.labels(options)
    candidate = entry.candidate
    return AttemptRow(
        request_id=request_id,
        attempt=1,
        started_ms=context.now_ms(),
        provider=entry.model.provider,
        model=entry.model.id,
        streaming=False,
        strategy=made.plan.strategy,
        chain=made.plan.chain,
        task=labels.task,
        workspace=labels.workspace,
        execution=labels.execution,
        effort=made.request.prompt.effort,
        price=price_as_json(made.price),
        price_as_of=entry.model.as_of,
        reserved_picousd=storable(candidate.worst_cost_picousd),
        expected_picousd=storable(candidate.expected_cost_picousd),
        deadline_ms=deadline_ms + KEPT_MS,
        service_tier=BATCH,
    )

"""Lines of batch jobs: whether they can be in one, and at which tier each is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from llmroute.errors import RequestError
from llmroute.jobs.run_settings import LEAST_WITHIN_S
from llmroute.providers import PROVIDERS
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.redaction import shown
from llmroute.types import AUTO, BATCH
from llmroute.types.attachment import Attachment
from llmroute.urls import is_loopback

if TYPE_CHECKING:
    from llmroute.request.options import Options
    from llmroute.routing.plan import Plan
    from llmroute.types import ServiceTier


async def route(run: PlanMaker, options: Options) -> tuple[ServiceTier, Options]:
    """Return the tier of a line whose tier is to be chosen, and its options there.

    Raises:
        LLMRouteError: no model can answer it.
    """
    entry = (await run.plan(replace(options, tier=None))).entries[0]
    tiers = entry.candidate.tiers
    is_patient = (options.timeout_s or LEAST_WITHIN_S) >= LEAST_WITHIN_S and options.max_latency_ms is None
    if BATCH in tiers and is_patient:
        return BATCH, replace(options, tier=BATCH, model=entry.model.name, provider=None, chain=None, fallback=())
    return ("flex", replace(options, tier="flex")) if "flex" in tiers else ("standard", replace(options, tier=None))


class PlanMaker(Protocol):
    """Plans requests."""

    async def plan(self, options: Options) -> Plan:
        """Return the plan of a request."""


def check_line(line: int, options: Options) -> None:
    """Check that a request can be a line of a batch job.

    Raises:
        RequestError: it cannot; the message names the line.
    """
    if options.tier not in (BATCH, AUTO):
        raise RequestError(f"line {line}: a line of a batch job cannot have a tier of its own", option="tier")
    for attachment in options.attachments:
        url = attachment.url if isinstance(attachment, Attachment) else str(attachment)
        if url is not None and is_loopback(url):
            problem = f"line {line}: {shown(url)} is an address of this machine, which no batch API can fetch"
            raise RequestError(problem, option="attachments")
    provider = options.provider or (options.model or "").partition("/")[0]
    if options.tier == BATCH and provider in PROVIDERS and not PROVIDERS[provider].batches:
        with_batches = ", ".join(name for name, spec in PROVIDERS.items() if spec.batches)
        raise RequestError(
            OptionText(f"line {line}: {provider} has no batch API; ", Remedy("tier"), f" {BATCH} takes {with_batches}")
        )

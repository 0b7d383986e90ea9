"""The limits on what may wait at a provider: a job is submitted when there is room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import AttemptError

if TYPE_CHECKING:
    from llmroute.jobs.context import JobContext
    from llmroute.ledger.jobs import Job, QueuedJob


class Queues:
    """Counts what the jobs of the ledger have at providers, of all runs."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        # The fewest tokens that a model had no room for, by provider and model.
        self._too_many: dict[tuple[str, str], int] = {}
        # Jobs of other runs that have ended, which their own run is still to collect.
        self._ended: set[str | None] = set()

    async def has_room(self, job: Job) -> bool:
        """Whether a job fits beside those at its provider; one that is alone always does, for the provider to decide.

        Raises:
            LedgerError: the journal cannot be read.
        """
        own, others = await self._counted(job)
        if self._fits(own, others):
            return True
        vendor = self._context.vendor(job.provider)
        try:
            async for status in vendor.jobs():
                if status.ended:
                    self._ended.add(status.vendor_id)
        except AttemptError:
            return False
        return self._fits(own, [other for other in others if other.vendor_id not in self._ended])

    def _fits(self, own: QueuedJob, others: list[QueuedJob]) -> bool:
        lines = sum(other.lines for other in others)
        most_lines = self._context.vendor(own.provider).api.limits.queued_lines
        if most_lines is not None and lines and lines + own.lines > most_lines:
            return False
        tokens = _tokens(own, others)
        if not tokens:
            return True
        most_tokens = self._context.queued_tokens(own.provider, own.model)
        too_many = self._too_many.get((own.provider, own.model))
        tokens += own.tokens
        return not ((most_tokens is not None and tokens > most_tokens) or (too_many is not None and tokens >= too_many))

    async def rejected(self, job: Job) -> bool:
        """Learn from a job that the provider had no room for; return whether the ledger has no other of its model.

        Raises:
            LedgerError: the journal cannot be read.
        """
        own, others = await self._counted(job)
        waiting = _tokens(own, others)
        tokens = waiting + own.tokens
        key = job.provider, job.model
        self._too_many[key] = min(tokens, self._too_many.get(key, tokens))
        return not waiting

    async def _counted(self, job: Job) -> tuple[QueuedJob, list[QueuedJob]]:
        """Return a job as its provider would count it, and the other jobs there."""
        context = self._context
        others = await context.run(context.journal.enqueued, job.provider, job.id)
        own = await context.run(context.journal.queued, job.id)
        return own, [other for other in others if other.vendor_id not in self._ended]


def _tokens(own: QueuedJob, others: list[QueuedJob]) -> int:
    """Return the tokens that wait for the model of a job beside it."""
    return sum(other.tokens for other in others if other.model == own.model)

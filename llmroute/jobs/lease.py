"""The lease of a run: on a ledger of many hosts, one process at a time works on the jobs of a run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.ledger.processes import Process, lives, this_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.jobs.context import JobContext
    from llmroute.jobs.run_settings import RunSettings

LEASE_S = 60.0
"""How long a lease lasts that is not renewed: so long after its host has died, another takes over."""
_RENEW_S = 15.0
_LOOK_AGAIN_S = 1.0


class RunLease:
    """The lease of the runs with one output, input and options, whichever host they are on.

    `on_loss` is called where another process has taken it, after this one could not renew it for its whole time.
    """

    def __init__(self, context: JobContext, settings: RunSettings, on_loss: Callable[[], None]) -> None:
        named = f"{settings.output}\0{settings.input_digest}\0{settings.options_digest}"
        self._context = context
        self._run = sha256(named.encode(errors="surrogateescape")).hexdigest()
        self._owner = _written(this_process())
        self._output = settings.output
        self._on_loss = on_loss
        self._renewing: asyncio.Task[None] | None = None
        self._is_lost = False

    async def take(self) -> None:
        """Take the lease, and renew it until `end`; one of a process that may have died is waited for.

        Raises:
            RequestError: another process works on the run.
            LedgerError: the ledger cannot be written.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LEASE_S + _RENEW_S
        noted = ""
        while (owner := await self._leased()) != self._owner:
            if _is_dead(owner) and await self._leased(owner) == self._owner:
                break
            if loop.time() > until_s:
                message = f"another process on {_host(owner)} works on the batch jobs of {self._output}"
                raise RequestError(message, hint="let it end first")
            if owner != noted:
                self._context.note(f"another process on {_host(owner)} may work on the batch jobs: waiting")
                noted = owner
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._renewing = asyncio.ensure_future(self._renew())

    async def confirm(self) -> None:
        """Check that no other process has taken the lease, and renew it.

        Raises:
            RequestError: another has.
            LedgerError: the ledger cannot be written.
        """
        self._is_lost = self._is_lost or not await self._is_renewed()
        self.require()

    def require(self) -> None:
        """Check that no other process was seen to have taken the lease.

        Raises:
            RequestError: another has.
        """
        if self._is_lost:
            message = f"another process works on the batch jobs of {self._output}, or has ended them"
            raise RequestError(message, hint="llmroute batches lists them")

    async def end(self) -> None:
        """Give the lease back."""
        if self._renewing is None:
            return
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        self._renewing = None
        # It ends by itself.
        with suppress(LedgerError):
            await self._context.run(self._context.journal.end_lease, self._run, self._owner)

    async def _renew(self) -> None:
        while not self._is_lost:
            await asyncio.sleep(_RENEW_S)
            with suppress(LedgerError):
                self._is_lost = not await self._is_renewed()
        self._on_loss()

    async def _leased(self, dead: str | None = None) -> str:
        return await self._context.run(self._context.journal.lease, self._run, self._owner, round(LEASE_S * 1000), dead)

    async def _is_renewed(self) -> bool:
        renew = self._context.journal.renew_lease
        return await self._context.run(renew, self._run, self._owner, round(LEASE_S * 1000))


def _written(process: Process) -> str:
    return f"{process.pid} {process.mark or ''} {process.host}"


def _host(owner: str) -> str:
    return owner.split(" ", 2)[-1]


def _is_dead(owner: str) -> bool:
    pid, _, rest = owner.partition(" ")
    mark, _, host = rest.partition(" ")
    return pid.isdecimal() and lives(Process(int(pid), host, mark or None)) is False

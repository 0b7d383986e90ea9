"""The usual way to a service: the user's own configuration, with what a program puts in place of parts of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.planning import settings
from llmroute.service.client import LLMService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    import httpx

    from llmroute.config import Config
    from llmroute.ledger.port import LedgerPort
    from llmroute.types import AttemptRecord


def get_llm_service(  # noqa: PLR0913 (by keyword)
    ledger: LedgerPort | str | PathLike[str] | None = None,
    *,
    config: Config | None = None,
    api_keys: Mapping[str, str] | None = None,
    note: Callable[[str], None] | None = None,
    trace: Callable[[str], None] | None = None,
    on_attempt: Callable[[AttemptRecord], None] | None = None,
    http_client: httpx.Client | None = None,
    async_http_client: httpx.AsyncClient | None = None,
) -> LLMService:
    """Return a service with the user's own configuration; `ledger`, open or a file's path, is used in place of its own.

    A ledger that is passed open stays open.  The rest is as for `LLMService`.

    Raises:
        ConfigError: a setting does not parse or does not fit, or a key is for no provider.
        RequestError: an HTTP client or the ledger is of another kind.
    """
    if ledger is not None and not isinstance(ledger, str | os.PathLike):
        from llmroute.ledger.opening import is_ledger

        if not is_ledger(ledger):
            raise RequestError(f"ledger is a {type(ledger).__name__}, where a llmroute.Ledger or a path is needed")
    config = config or settings.load()
    given_ledger = None if isinstance(ledger, str | os.PathLike) else ledger
    if isinstance(ledger, str | os.PathLike):
        config = config.with_ledger(ledger)
    return LLMService(
        config=config,
        api_keys=api_keys,
        ledger=given_ledger,
        note=note,
        trace=trace,
        on_attempt=on_attempt,
        http_client=http_client,
        async_http_client=async_http_client,
    )

"""The configuration of a command that makes no service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.errors import say

if TYPE_CHECKING:
    from llmroute.config import Config


def load_noted() -> Config:
    """Return the user's configuration; prints what is ignored in its files.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    from llmroute.planning.settings import load

    config = load()
    if config.notice:
        say(config.notice)
    return config


def note_waiting(config: Config) -> None:
    """Print a warning if calls wait in the spool, or in those of other URLs: a report lacks them."""
    from llmroute.service.ledger_opening import waiting, waiting_for_other_urls

    for place in waiting(config):
        say(f"warning: calls that the ledger has not taken yet wait in {place}; they are not counted here")
    for place in waiting_for_other_urls(config):
        say(f"warning: calls wait in {place} for another URL or configuration directory; see llmroute costs check")

"""The configuration of a command that makes no service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.errors import say
from llmroute.text.suggest import nearest

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


def note_missing(config: Config, workspace: str | None) -> None:
    """Print what a report lacks: calls in the spool or in those of other URLs, and all calls of a mistyped workspace.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.service.ledger_opening import waiting, waiting_for_other_urls

    for place in waiting(config):
        say(f"warning: calls that the ledger has not taken yet wait in {place}; they are not counted here")
    for place in waiting_for_other_urls(config):
        say(f"warning: calls wait in {place} for another URL or configuration directory; see llmroute costs check")
    if workspace:
        _note_unknown(config, workspace)


def _note_unknown(config: Config, workspace: str) -> None:
    from llmroute.service.costs.report import known_workspaces

    known = known_workspaces(config)
    if workspace in known:
        return
    near = nearest(workspace, known)
    say(f"there are no calls of workspace {workspace!r}" + (f" (did you mean {near}?)" if near else ""))

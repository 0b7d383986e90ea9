"""`llmroute chains`: the fallback chains."""

from __future__ import annotations

from llmroute.cli import options as flags  # noqa: TC001 (typer reads annotations at run time)
from llmroute.cli.failures import failures
from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns


def chains(as_json: flags.AsJSON = False) -> None:
    """List the chains, what each entry resolves to today, and whether it can be called from here."""
    with failures(as_json=as_json):
        from llmroute.service.api import LLMService
        from llmroute.service.chains import chains_today

        found = chains_today(LLMService())
        if as_json:
            write_json(
                {
                    name: {
                        "entries": [entry.written for entry in entries],
                        "resolved": [entry.resolved for entry in entries],
                        "usable": [entry.problem is None for entry in entries],
                    }
                    for name, entries in found.items()
                }
            )
            return
        rows = [
            [name if index == 0 else "", entry.written, entry.resolved or "-", entry.problem or "usable"]
            for name, entries in found.items()
            for index, entry in enumerate(entries)
        ]
        write_text(columns(("chain", "entry", "today", ""), rows))

"""`llmroute models refresh`: new prices and lives, shown before they are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags
from llmroute.cli.errors import failures, say, told_error
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns
from llmroute.cli.output.terminal import can_ask, harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.registry.refresh import Change
    from llmroute.service.models.refresh import Refresh


def refresh(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A file (then nothing is sent), or an address: a catalogue, or prices as genai-prices publishes them.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Take it without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even when a price moves more than 20-fold.")] = False,
    as_json: flags.AsJSON = False,
    quiet: flags.Quiet = False,
) -> None:
    """Bring prices and lives of models up to date.

    What has changed is shown, and taken when you say so.
    """
    with failures(as_json=as_json):
        from llmroute.cli.output.progress import Bar, ProgressState
        from llmroute.notices import discard
        from llmroute.service.client import LLMService
        from llmroute.service.models.refresh import prepare

        note = discard if quiet else say
        service = LLMService(note=note)
        with Bar(quiet=quiet) as bar:
            found = prepare(
                service,
                source,
                watch=lambda what, done, total: bar.show(ProgressState(what, done, total, "bytes")),
            )
        for name, error in found.failures.items():
            told = told_error(error)
            note(f"{'' if told.startswith(name) else f'{name}: '}{told}; its list is left out")
        if not as_json:
            write_text(harmless(_as_text(found)))
        found.check(force=force)
        taken = yes or _agreed(found)
        if taken:
            previous = found.take()
            note(f"taken: {found.path}" + (f" (the previous one: {previous})" if previous else ""))
        else:
            note("nothing is taken (--yes takes it)")
        if as_json:
            write_json(_as_json(found, taken=taken))


def _agreed(found: Refresh) -> bool:
    """Ask on a terminal, and nowhere else; where nothing differs there is nothing to ask."""
    if not can_ask():
        return False
    return not found.changes or typer.confirm("take it?", err=True)


def _as_json(found: Refresh, *, taken: bool) -> dict[str, Any]:
    def told(changes: Iterable[Change]) -> list[dict[str, Any]]:
        return [{"kind": c.kind, "model": c.model, "what": c.what, "old": c.old, "new": c.new} for c in changes]

    return {
        "taken": taken,
        "as_of": {"old": found.old["as_of"], "new": found.new["as_of"]},
        "changes": told(found.changes),
        "served": told(found.served),
    }


_SERVED = {"new": "listed by the provider, not in the catalogue", "gone": "not listed for your key"}


def _as_text(found: Refresh) -> str:
    changed = [
        [change.kind, change.model, change.what, _value(change.old), "->" if change.what else "", _value(change.new)]
        for change in found.changes
    ]
    listed = [[change.kind, change.model, _SERVED[change.kind]] for change in found.served]
    text = f"catalogue of {found.old['as_of']} -> {found.new['as_of']}: {_count(len(found.changes), 'change')}\n"
    if changed:
        text += "\n" + columns(("change", "model", "what", "old", "", "new"), changed, numbers=(3, 5))
        text += "\nprices in USD per million tokens\n"
    if listed:
        text += "\n" + columns(("listed", "model", ""), listed)
    return text


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""`llmroute models refresh`: update the catalogue after a review of the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags
from llmroute.cli.errors import error_of, failures, say
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns
from llmroute.cli.output.terminal import can_confirm, harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.registry.refresh import Change
    from llmroute.service.models.refresh import Refresh


def refresh(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A file or URL with a catalogue, or with prices in genai-prices format.",
        ),
    ] = None,
    yes: flags.Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Accept price changes of more than 20 times.")] = False,
    as_json: flags.AsJSON = False,
    quiet: flags.Quiet = False,
) -> None:
    """Update prices and lifecycles of models.

    Lists the changes, which need confirmation or --yes.
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
                service.core,
                source,
                watch=lambda what, done, total: bar.show(ProgressState(what, done, total, "bytes")),
            )
        for name, error in found.failures.items():
            note(f"{error_of(name, error)}; its model list is ignored")
        if not as_json:
            write_text(harmless(_as_text(found)))
        found.check(force=force)
        accepted = yes or _is_confirmed(found)
        note(_written(found) if accepted else "the catalogue is unchanged (--yes accepts the changes)")
        if as_json:
            write_json(_as_json(found, accepted=accepted))


def _written(found: Refresh) -> str:
    """Write the catalogue; return a note on where it and the one before are."""
    previous = found.take()
    return f"updated {found.path}" + (f" (previous catalogue: {previous})" if previous else "")


def _is_confirmed(found: Refresh) -> bool:
    """Ask for confirmation on a terminal, if there are changes."""
    return can_confirm() and (not found.changes or typer.confirm("accept the changes?", err=True))


def _as_json(found: Refresh, *, accepted: bool) -> dict[str, Any]:
    def rows(changes: Iterable[Change]) -> list[dict[str, Any]]:
        return [{"kind": c.kind, "model": c.model, "what": c.what, "old": c.old, "new": c.new} for c in changes]

    return {
        "taken": accepted,
        "as_of": {"old": found.old["as_of"], "new": found.new["as_of"]},
        "changes": rows(found.changes),
        "served": rows(found.served),
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

"""`llmroute costs calls`, `correct`, `export` and `path`: the attempts themselves, and where they are."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmroute.cli import options as flags
from llmroute.cli.errors import failures, say
from llmroute.cli.output.stdout import write_json, write_text, written_out
from llmroute.cli.output.tables import money
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import RequestError
from llmroute.text.option_names import many
from llmroute.text.suggest import nearest
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from decimal import Decimal

    from llmroute.config import Config
    from llmroute.service.costs.export import Selection

_MOST = 1_000_000
_STDOUT = "-"


def calls(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    last: Annotated[int, typer.Option("--last", min=1, max=_MOST, help="How many.")] = 20,
    since: flags.Since = None,
    until: flags.Until = None,
    model: flags.AttemptModel = None,
    status: flags.Status = None,
    workspace: flags.Workspace = None,
    execution: flags.Execution = None,
    as_json: flags.AsJSON = False,
) -> None:
    """List the last attempts, the newest at the end.

    A cost with ~ is an estimate; at most is a reservation, as the call has no known end; at least leaves something out
    that has no known price; corrected is what costs correct has put in its place. A call marked prompt cut was answered
    without the whole prompt; --json says by what signs.
    """
    with failures(as_json=as_json):
        from llmroute.planning.settings import load
        from llmroute.service.costs.export import Selection, last_attempts

        config = load()
        selection = Selection(since, until, model, status, workspace, execution)
        found = last_attempts(config, last, selection)
        if as_json:
            write_json(found)
        elif found:
            from llmroute.cli.output.attempts import attempts_table

            write_text(attempts_table(found, terminal_width()))
        else:
            write_text("no call was made yet\n" if selection == Selection() else "no such call was made\n")
        if workspace:
            tell_if_unknown(config, workspace)


def tell_if_unknown(config: Config, workspace: str) -> None:
    """Say so when no call was ever on the bill of a workspace: it may be mistyped."""
    from llmroute.service.costs.report import known_workspaces

    known = known_workspaces(config)
    if workspace in known:
        return
    near = nearest(workspace, known)
    say(f"no call was ever made for workspace {workspace!r}" + (f" (did you mean {near}?)" if near else ""))


def correct(
    attempt: Annotated[
        str, typer.Argument(metavar="ATTEMPT", help="Its id in costs calls, or the id of its request, with /2.")
    ],
    cost: Annotated[str, typer.Option("--cost", metavar="USD", help="What the provider billed for it.")],
    as_json: flags.AsJSON = False,
) -> None:
    """Put a known cost in place of a guess.

    The bill and the budgets count it from now on; the computed cost is kept beside it.
    """
    with failures(as_json=as_json):
        from llmroute.planning.settings import load
        from llmroute.planning.usage_cost import usd
        from llmroute.service.costs import export as records

        told = records.correct(load(), attempt, _dollars(cost))
        name, old, new = f"{told.provider}/{told.model}", usd(told.old_picousd), told.new_picousd / PICO_PER_USD
        if as_json:
            request = {"id": told.row_id, "request_id": told.request_id, "attempt": told.attempt}
            write_json({**request, "model": name, "old_cost_usd": old, "cost_usd": new})
        else:
            was = "unknown" if old is None else money(old)
            write_text(f"attempt {told.row_id} of {name}: {money(new)} (was {was})\n")
        if told.was_fact and old is not None and old != new:
            say(
                f"warning: the cost of attempt {told.row_id} was a fact and no guess;"
                f" llmroute costs correct {told.row_id} --cost {old:.12f} puts it back"
            )


def _dollars(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    try:
        usd = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite():
        raise RequestError(f"--cost: {text!r} is no amount in USD", hint="0.0123 is one")
    return usd


def export(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.csv|.jsonl|.parquet|-", help="Replaced where it is; - is stdout.")
    ] = None,
    form: Annotated[
        Literal["csv", "jsonl", "focus", "otlp"] | None,
        typer.Option("--format", help="csv (default) and jsonl: of stdout; focus: FOCUS 1.2; otlp: with --to."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="With --format otlp: an OpenTelemetry collector.")
    ] = None,
    since: flags.Since = None,
    until: flags.Until = None,
    model: flags.AttemptModel = None,
    status: flags.Status = None,
    workspace: flags.Workspace = None,
    execution: flags.Execution = None,
) -> None:
    """Write attempts to a file or stdout, or send them to a collector.

    focus writes charges for finance tools. otlp sends spans and metrics over OTLP/HTTP, each attempt at least once,
    from where the last export to that URL ended, with the headers in OTEL_EXPORTER_OTLP_HEADERS. Parquet needs
    pip install 'llmroute[parquet]'.
    """
    with failures():
        from llmroute.planning.settings import load
        from llmroute.service.costs.export import Selection

        selection = Selection(since, until, model, status, workspace, execution)
        if form == "otlp" or to is not None:
            _send(form, file, to, selection)
        elif file is None:
            raise RequestError("no file is named", hint="bill.csv is one, and - is stdout")
        else:
            _write(load(), file, form, selection)


def _send(form: str | None, file: Path | None, to: str | None, selection: Selection) -> None:
    if form != "otlp" or to is None or file is not None:
        raise RequestError("--format otlp and --to go together, without a file", hint="--to http://127.0.0.1:4318")
    from llmroute.notices import discard
    from llmroute.service.client import LLMService
    from llmroute.service.costs.exports.collector import send

    found = send(LLMService(note=discard).core, to, selection)
    say(f"{many(found.attempt_count, 'attempt')} sent to {to}")
    if found.complaint:
        say(f"warning: {found.complaint}")


def _write(config: Config, file: Path, form: str | None, selection: Selection) -> None:
    from llmroute.service.costs import export as records

    focus = records.FocusLayout()
    layout, unit = (focus, "charge") if form == "focus" else (records.unchanged, "attempt")
    if str(file) == _STDOUT:
        with written_out() as out:
            count = records.export_to(config, out, ".jsonl" if form == "jsonl" else ".csv", selection, layout)
        say(f"{many(count, unit)} written to stdout")
    else:
        if form in ("csv", "jsonl") and file.suffix.lower() != f".{form}":
            raise RequestError(f"--format {form} does not fit {file}", hint="the ending says the format")
        say(f"{many(records.export(config, file, selection, layout), unit)} written to {file}")
    if focus.unknown_cost_count:
        say(f"{many(focus.unknown_cost_count, 'attempt')} of unknown cost left out")


def path() -> None:
    """Print where the ledger is."""
    with failures():
        from llmroute.planning.settings import load

        write_text(f"{load().ledger.name}\n")

"""`llmroute costs calls`, `correct`, `export` and `path`: single attempts, and the path of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmroute.cli import options as flags
from llmroute.cli.errors import failures, say
from llmroute.cli.output.stdout import STDOUT, write_json, write_text, written_out
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import RequestError
from llmroute.text.money import money
from llmroute.text.plural import many
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from decimal import Decimal

    from llmroute.config import Config
    from llmroute.ledger.reports import Line
    from llmroute.service.costs.attempts import Selection

_MOST = 1_000_000
ExportFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE.csv|.jsonl|.parquet|-",
        parser=flags.output_file_or_stdout,
        help="The file to write or replace; - is stdout.",
    ),
]


def calls(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    last: Annotated[int, typer.Option("--last", min=1, max=_MOST, help="Number of attempts.")] = 20,
    since: flags.Since = None,
    until: flags.AttemptUntil = None,
    model: flags.AttemptModel = None,
    status: flags.Status = None,
    workspace: flags.Workspace = None,
    execution: flags.Execution = None,
    as_json: flags.AsJSON = False,
) -> None:
    """List the last attempts, newest last.

    A cost with ~ is an estimate. "at most" is the reservation of a call whose end is unknown. "at least" excludes parts
    whose price is unknown. "corrected" was set by costs correct. "prompt cut" means that the model truncated the
    prompt; --json has the details.
    """
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted, note_missing
        from llmroute.service.costs.attempts import Selection, last_attempts

        config = load_noted()
        selection = Selection(since, until, model, status, workspace, execution)
        found = last_attempts(config, last, selection)
        if as_json:
            write_json(found)
        elif found:
            from llmroute.cli.output.costs.attempts import attempts_table

            write_text(attempts_table(found, terminal_width()))
        else:
            write_text("no call was made yet\n" if selection == Selection() else "no such call was made\n")
        note_missing(config, workspace)


def correct(
    attempt: Annotated[
        str,
        typer.Argument(
            metavar="ATTEMPT", help="Its id in costs calls, or its request id; ID/2 is the second attempt of a request."
        ),
    ],
    cost: Annotated[str, typer.Option("--cost", metavar="USD", help="The cost that the provider billed.")],
    as_json: flags.AsJSON = False,
) -> None:
    """Replace an uncertain cost with the billed one.

    Reports and budgets use it from now on; the computed cost is kept.
    """
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted
        from llmroute.planning.usage_cost import usd
        from llmroute.service.costs import attempts as records

        correction = records.correct(load_noted(), attempt, _dollars(cost))
        name, old, new = (
            f"{correction.provider}/{correction.model}",
            usd(correction.old_picousd),
            correction.new_picousd / PICO_PER_USD,
        )
        if as_json:
            request = {"id": correction.row_id, "request_id": correction.request_id, "attempt": correction.attempt}
            write_json({**request, "model": name, "old_cost_usd": old, "cost_usd": new})
        else:
            was = "unknown" if old is None else money(old)
            write_text(f"attempt {correction.row_id} of {name}: {money(new)} (was {was})\n")
        if correction.was_fact and old is not None and old != new:
            say(
                f"warning: the cost of attempt {correction.row_id} was known, not estimated;"
                f" llmroute costs correct {correction.row_id} --cost {old:.12f} restores it"
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
    file: ExportFile = None,
    form: Annotated[
        Literal["csv", "jsonl", "focus", "otlp"] | None,
        typer.Option("--format", help="csv or jsonl for stdout, default csv; focus: FOCUS 1.2; otlp: requires --to."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="With --format otlp: the URL of an OpenTelemetry collector."),
    ] = None,
    since: flags.Since = None,
    until: flags.AttemptUntil = None,
    model: flags.AttemptModel = None,
    status: flags.Status = None,
    workspace: flags.Workspace = None,
    execution: flags.Execution = None,
) -> None:
    """Export attempts to a file, stdout or a collector.

    focus writes charges for finance tools. otlp sends spans and metrics over OTLP/HTTP, each attempt at least once,
    with the headers in OTEL_EXPORTER_OTLP_HEADERS; each export to a URL continues the previous one. Parquet requires
    pip install 'llmroute[parquet]'.
    """
    with failures():
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs.attempts import Selection

        selection = Selection(since, until, model, status, workspace, execution)
        if form == "otlp" or to is not None:
            _send(form, file, to, selection)
        elif file is None:
            raise RequestError("no file was given", hint="for example bill.csv, or - for stdout")
        else:
            _write(load_noted(), file, form, selection)


def _send(form: str | None, file: Path | None, to: str | None, selection: Selection) -> None:
    if form != "otlp" or to is None or file is not None:
        raise RequestError("--format otlp and --to go together, without a file", hint="--to http://127.0.0.1:4318")
    from llmroute.service.client import LLMService
    from llmroute.service.costs.exports.collector import send

    found = send(LLMService(note=say).core, to, selection)
    say(f"{many(found.attempt_count, 'attempt')} sent to {to}")
    _note_pruned(found.pruned, selection)
    if found.complaint:
        say(f"warning: {found.complaint}")


def _write(config: Config, file: Path, form: str | None, selection: Selection) -> None:
    from llmroute.cli.configuration import note_missing
    from llmroute.service.costs import attempts as records
    from llmroute.service.own_files import require_other_file

    focus = records.FocusLayout()
    layout, unit = (focus, "charge") if form == "focus" else (records.unchanged, "attempt")
    if file == Path(STDOUT):
        with written_out() as out:
            written = records.export_to(config, out, ".jsonl" if form == "jsonl" else ".csv", selection, layout)
        say(f"{many(written.row_count, unit)} written to stdout")
    else:
        if form in ("csv", "jsonl") and file.suffix.lower() != f".{form}":
            raise RequestError(f"--format {form} does not fit {file}", hint="its suffix sets the format")
        require_other_file(config, file)
        written = records.export(config, file, selection, layout)
        say(f"{many(written.row_count, unit)} written to {file}")
    _note_pruned(written.pruned, selection)
    if focus.unknown_cost_count:
        say(f"{many(focus.unknown_cost_count, 'attempt')} of unknown cost left out")
    note_missing(config, selection.workspace)


def _note_pruned(pruned: Line, selection: Selection) -> None:
    """Print a note of the attempts that an export lacks, because they were pruned."""
    from llmroute.cli.output.charts import cost

    if pruned.call_count > 0:
        of_any = " of any execution" if selection.execution else ""
        say(
            f"{many(pruned.call_count, 'pruned attempt')}{of_any} left out ({cost(pruned)}): only sums are kept of them"
        )


def path() -> None:
    """Print the path of the ledger."""
    with failures():
        from llmroute.cli.configuration import load_noted

        write_text(f"{load_noted().ledger.name}\n")

"""`llmroute costs calls`, `correct`, `export` and `path`: the attempts themselves, and where they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmroute.cli import options as flags
from llmroute.cli.errors import failures, say
from llmroute.cli.output.stdout import write_json, write_text, written_out
from llmroute.cli.output.tables import cell, columns, fitted, money
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import RequestError
from llmroute.text.option_names import many
from llmroute.text.suggest import nearest
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from llmroute.config import Config

_HEAD = ("when", "model", "status", "cost", "in", "out", "time", "id")
_NUMBERS = (3, 4, 5, 6, 7)
_MOST = 1_000_000
_WORDS = {"at_most": "at most ", "at_least": "at least ", "corrected": "corrected "}


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
            write_text(_as_text(found, terminal_width()))
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
        from llmroute.service.costs import export as records

        told = records.correct(load(), attempt, _dollars(cost))
        name, old, new = f"{told.provider}/{told.model}", _usd(told.old_picousd), told.new_picousd / PICO_PER_USD
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
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|.jsonl|-", help="Replaced where it is; - is stdout.")],
    form: Annotated[Literal["csv", "jsonl"] | None, typer.Option("--format", help="Of stdout; default csv.")] = None,
    since: flags.Since = None,
    until: flags.Until = None,
    model: flags.AttemptModel = None,
    status: flags.Status = None,
    workspace: flags.Workspace = None,
    execution: flags.Execution = None,
) -> None:
    """Write attempts, with all that is known, to a file or stdout."""
    with failures():
        from llmroute.planning.settings import load
        from llmroute.service.costs import export as records

        selection = records.Selection(since, until, model, status, workspace, execution)
        if str(file) == "-":
            with written_out() as out:
                count = records.export_to(load(), out, f".{form or 'csv'}", selection)
            say(f"{many(count, 'attempt')} written to stdout")
            return
        if form is not None and file.suffix.lower() != f".{form}":
            raise RequestError(f"--format {form} does not fit {file}", hint="the ending says the format")
        say(f"{many(records.export(load(), file, selection), 'attempt')} written to {file}")


def path() -> None:
    """Print where the ledger is."""
    with failures():
        from llmroute.planning.settings import load

        write_text(f"{load().ledger.name}\n")


def _as_text(found: Sequence[dict[str, Any]], fits: int | None) -> str:
    moments = [datetime.fromtimestamp(row["started_ms"] / 1000, UTC).astimezone() for row in found]
    this_year = {moment.year for moment in moments} == {datetime.now().astimezone().year}
    rows = [
        [
            f"{moment:{'' if this_year else '%Y-'}%m-%d %H:%M:%S}",
            cell(f"{row['provider']}/{row['model']}"),
            cell(_status(row)),
            _cost(row),
            _count(row, "input_tokens"),
            _count(row, "output_tokens"),
            "" if row["latency_ms"] is None else f"{row['latency_ms'] / 1000:.1f}s",
            str(row["id"]),
        ]
        for row, moment in zip(found, moments, strict=True)
    ]
    return columns(_HEAD, rows, _NUMBERS) if fits is None else fitted(_HEAD, rows, 1, fits, _NUMBERS)


def _status(row: dict[str, Any]) -> str:
    """Return the status with its error and HTTP status, where all did not go well, and a mark for a cut prompt."""
    names = ("status",) if row["status"] == "ok" else ("status", "error", "http_status")
    said = " ".join(str(row[name]) for name in names if row[name] is not None)
    return said if row["prompt_cut"] is None else f"{said}, prompt cut"


def _cost(row: dict[str, Any]) -> str:
    if row["status"] == "pending":
        return ""
    usd, most = _usd(row["cost_picousd"]), _usd(row["reserved_picousd"])
    if usd is None:
        return "unknown"
    if (basis := _basis(row)) == "estimated":
        bounded = most is not None and row["usage_source"] != "reported"
        return f"~{money(usd)} (at most {money(most)})" if bounded else f"~{money(usd)}"
    return f"{_WORDS.get(basis, '')}{money(usd)}"


def _basis(row: dict[str, Any]) -> str:
    """Return where a cost comes from; a row of an older llmroute says it by other columns."""
    if row["cost_basis"] is not None:
        return str(row["cost_basis"])
    if row["status"] == "lost":
        return "at_most"
    return "estimated" if row["usage_source"] == "estimated" else "reported"


def _usd(picousd: int | None) -> float | None:
    return None if picousd is None else picousd / PICO_PER_USD


def _count(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "?"
    return f"{'~' if row['usage_source'] in ('estimated', 'implausible') else ''}{row[name]:,}"

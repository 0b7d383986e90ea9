"""`llmroute costs check`, `backup`, `restore`, `move` and `prune`: maintenance of the ledger."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.errors import failures, say
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.terminal import can_confirm
from llmroute.errors import RequestError
from llmroute.text.money import money
from llmroute.text.plural import many
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.maintenance import CheckReport, Repaired

# About a million rows.
LONG_BYTES = 500_000_000


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Repair the ledger.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --repair: print the changes without making them.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="With --repair: allow budgets to restart at zero.")] = False,
    as_json: flags.AsJSON = False,
) -> None:
    """Verify or repair the ledger.

    Checks the file, its tables, the sums, the reservations and the spooled rows. Exits with 3 if something is wrong.
    """
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs import maintenance

        config = load_noted()
        if config.ledger_path.exists() and (size := config.ledger_path.stat().st_size) > LONG_BYTES:
            say(f"reads every row of {size / 1e9:.1f} GB; this takes minutes")
        if dry_run:
            if not repair:
                raise RequestError("--dry-run requires --repair", hint="add --repair")
            _rehearse(config, as_json=as_json)
            return
        mended = maintenance.repair(config, from_zero=yes) if repair else None
        report = mended.after if mended else maintenance.check(config)
        if as_json:
            write_json(_as_json(report, mended))
        else:
            if mended:
                write_text(_mended(mended))
            write_text(_report_text(report, config.ledger.name))
        if not report.sound:
            raise typer.Exit(exit_codes.SETUP)


def _rehearse(config: Config, *, as_json: bool) -> None:
    """Print the changes of a repair; exit as `check` does."""
    from llmroute.service.costs import maintenance

    mended = maintenance.rehearse_repair(config)
    if as_json:
        write_json({**_as_json(mended.before, mended), "dry_run": True})
    else:
        write_text(_mended(mended, would="would ") or "nothing is wrong\n")
        say("the ledger is unchanged: the repair ran on a copy")
    if not mended.before.sound:
        raise typer.Exit(exit_codes.SETUP)


def _as_json(report: CheckReport, mended: Repaired | None) -> dict[str, Any]:
    saved = mended.salvage if mended else None
    return {
        "ok": report.sound,
        "attempts": report.attempts,
        "faults": list(report.faults),
        "notes": list(report.notes),
        "repaired": list(mended.before.faults) if mended else [],
        "changed": list(mended.changes) if mended else [],
        "moved_aside": str(saved.aside) if saved else None,
        "attempts_read": saved.rows if saved else None,
        "attempts_lost": saved.lost.rows if saved else None,
        "lost_cost_usd": saved.lost.cost_picousd / PICO_PER_USD if saved else None,
        "kept": str(mended.kept) if mended and mended.kept else None,
    }


def _mended(mended: Repaired, *, would: str = "") -> str:
    done = f"{would}be " if would else ""
    lines = [f"was wrong: {fault}" for fault in mended.before.faults]
    if mended.salvage:
        saved = mended.salvage
        lines.append(f"{done}moved aside: {saved.aside}; {many(saved.rows, 'attempt')} could be read from it")
        if saved.lost.rows:
            lines.append(
                f"{done}lost: {many(saved.lost.rows, 'attempt')} of {money(saved.lost.cost_picousd / PICO_PER_USD)},"
                f" known from sums; reports and budgets {would}count them, as rows with the error `row lost`"
            )
        elif not saved.rows:
            lines.append(f"there is no record of past costs: reports and budgets {would}restart at zero")
    if mended.kept:
        lines.append(f"{done}kept as it was: {mended.kept}")
    return "".join(f"{line}\n" for line in (*lines, *mended.changes))


def _report_text(report: CheckReport, path: str) -> str:
    lines = [f"{fault} (llmroute costs check --repair repairs it)" for fault in report.faults]
    lines += report.notes
    if report.sound and not report.absent:
        lines.append(f"{path}: sound, {many(report.attempts, 'attempt')}")
    return "".join(f"{line}\n" for line in lines)


def backup(file: Annotated[Path, typer.Argument(parser=flags.output_file, help="The file to create.")]) -> None:
    """Back up the ledger, also while it is in use."""
    with failures():
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs import maintenance

        maintenance.backup(load_noted(), file)


def restore(file: Annotated[Path, typer.Argument(help="A file from `costs backup`.")]) -> None:
    """Replace the ledger with a backup.

    The backup is checked first. The current ledger is kept under another name; later calls are only in it, and neither
    reports nor budgets count them.
    """
    with failures():
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs import maintenance

        config = load_noted()
        done = maintenance.restore(config, file)
        say(f"{many(done.attempts, 'attempt')} {'is' if done.attempts == 1 else 'are'} in {config.ledger.name} now")
        if done.aside is not None:
            say(f"the previous ledger is {done.aside}; calls after the backup are only there")


def move(
    url: Annotated[str, typer.Argument(help="postgresql://user@host/database")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="The SQLite ledger to copy, if not the default one; or the spool of another URL."),
    ] = None,
) -> None:
    """Copy a SQLite ledger to a PostgreSQL server.

    Attempts, sums of pruned time, learned statistics and collected batch jobs are copied. A second run continues the
    first. The file is kept, with its pending calls and batch jobs.
    """
    with failures():
        from llmroute.cli.configuration import load_noted
        from llmroute.cli.output.progress import Bar, ProgressState
        from llmroute.service.costs import maintenance

        config = load_noted()
        if source is not None and source.suffix == ".spool":
            added = maintenance.take_in_spool(config, url, source)
            say(f"{many(added, 'call')} of {source} added to {config.with_ledger(url).ledger.name}")
            return
        with Bar() as bar:
            done = maintenance.move(
                config, url, source, lambda read, total: bar.show(ProgressState("costs move", read, total))
            )
        already = f"; {many(done.already, 'attempt')} were there already" if done.already else ""
        say(f"{many(done.copied, 'attempt')} copied to {config.with_ledger(url).ledger.name}{already}")
        if done.untaken.calls:
            calls = f"{many(done.untaken.calls, 'call')} ({money(done.untaken.cost_picousd / PICO_PER_USD)})"
            say(f"of pruned time {calls} may be missing: another copy of this ledger has brought more calls of then")
        if done.pending:
            say(f"not copied: {many(done.pending, 'pending call')}; run it again when they have ended")
        if done.open_jobs:
            jobs = many(done.open_jobs, "batch job")
            say(f"not copied: {jobs}; collect the results with the file as the ledger, then run it again")
        say("set LLMROUTE_LEDGER to the URL to use the server")


def prune(
    older_than: Annotated[str, typer.Option("--older-than", help="Age, such as 90d, 26w or 2y.")],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the number of attempts, and delete none.")] = False,
) -> None:
    """Delete old attempts; reports keep their sums.

    The current week and month are kept complete. A file keeps its size.
    """
    with failures():
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs import maintenance

        config = load_noted()
        count, before = maintenance.prunable(config, older_than)
        old = f"{many(count, 'attempt')} before {before:%Y-%m-%d}"
        if count == 0:
            say(f"{old}: nothing to delete")
            return
        if dry_run:
            say(f"{old} would be deleted")
            return
        if not (yes or can_confirm()):
            raise RequestError(f"{old} would be deleted permanently", hint="--yes deletes them without asking")
        if not (yes or typer.confirm(f"delete {old}?", err=True)):
            say("nothing was deleted")
            return
        size = "" if config.ledger.server else "; the file keeps its size and reuses the freed space"
        deleted = many(maintenance.prune(config, before), "attempt")
        say(f"{deleted} before {before:%Y-%m-%d} deleted; reports keep their sums{size}")

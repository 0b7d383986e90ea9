"""`llmroute costs check`, `backup` and `prune`: the keeping of the ledger."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags  # noqa: TC001 (as above)
from llmroute.cli.failures import failures, say
from llmroute.cli.output import write_json, write_text

if TYPE_CHECKING:
    from llmroute.ledger.checks import Report
    from llmroute.service.upkeep import Repaired

# About a million rows.
LONG_BYTES = 500_000_000


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is wrong.")] = False,
    as_json: flags.AsJSON = False,
) -> None:
    """Verify the ledger, or mend it.

    The file, the sums against the rows, what is reserved and what waits; exit 3 when something is wrong.
    """
    with failures(as_json=as_json):
        from llmroute.service import upkeep
        from llmroute.service.settings import load

        config = load()
        if config.ledger_path.exists() and (size := config.ledger_path.stat().st_size) > LONG_BYTES:
            say(f"reads every row of {size / 1e9:.1f} GB; this takes minutes")
        mended = upkeep.repair(config) if repair else None
        report = mended.after if mended else upkeep.check(config)
        if as_json:
            write_json(
                {
                    "ok": report.sound,
                    "attempts": report.attempts,
                    "faults": list(report.faults),
                    "notes": list(report.notes),
                    "repaired": list(mended.before.faults) if mended else [],
                    "moved_aside": str(mended.salvage.aside) if mended and mended.salvage else None,
                }
            )
        else:
            if mended:
                write_text(_mended(mended))
            write_text(_told(report, str(config.ledger_path)))
        if not report.sound:
            raise typer.Exit(exit_codes.NEEDS_A_PERSON)


def _mended(mended: Repaired) -> str:
    text = "".join(f"was wrong: {fault}\n" for fault in mended.before.faults)
    if mended.salvage:
        text += f"moved aside: {mended.salvage.aside}; {mended.salvage.rows} attempts could be read from it\n"
    return text


def _told(report: Report, path: str) -> str:
    lines = [f"{fault} (llmroute costs check --repair mends it)" for fault in report.faults]
    lines += report.notes
    if report.sound:
        lines.append(f"{path}: sound, {report.attempts} attempts")
    return "".join(f"{line}\n" for line in lines)


def backup(file: Annotated[Path, typer.Argument(help="A file that is not there yet.")]) -> None:
    """Copy the ledger, whole even while others write."""
    with failures():
        from llmroute.service import upkeep
        from llmroute.service.settings import load

        upkeep.backup(load(), file)


def prune(older_than: Annotated[str, typer.Option("--older-than", help="90d, 26w or 2y.")]) -> None:
    """Delete old attempts; the bill keeps their sums.

    The current week and month stay whole, and the file keeps its size.
    """
    with failures():
        from llmroute.service import upkeep
        from llmroute.service.settings import load

        count, before = upkeep.prune(load(), older_than)
        say(
            f"{count} attempts before {before:%Y-%m-%d} deleted; the bill keeps their sums, and the file its size:"
            " what was freed is filled first"
        )

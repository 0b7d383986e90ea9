"""`llmroute costs reconcile`: the ledger compared with the providers' cost reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.errors import error_with_hint, failures, say
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import cell, columns
from llmroute.cli.output.terminal import harmless
from llmroute.text.money import money

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from decimal import Decimal

    from llmroute.service.costs.compared_costs import ComparedDay, ComparedVendor, ModelDay, Reconciliation

_HEAD = ("day (UTC)", "ledger", "provider", "difference", "")
_NUMBERS = (1, 2, 3)


def reconcile(
    period: flags.Period = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", metavar="PERCENT", min=0, max=100, help="Allowed difference in percent of the billed amount."
        ),
    ] = 1.0,
    as_json: flags.AsJSON = False,
) -> None:
    """Compare the ledger with the providers' cost reports.

    Reads the reports of OpenAI and Anthropic with OPENAI_ADMIN_KEY and ANTHROPIC_ADMIN_KEY. Days and periods are in
    UTC. Exits with 4 if a closed day, or all closed days together, differ by more than the tolerance. If the report of
    one provider cannot be read, the other's is printed and the exit code is that of the error.
    """
    with failures(as_json=as_json):
        from llmroute.errors import RequestError
        from llmroute.service.client import LLMService
        from llmroute.service.costs import reconcile as comparison

        if tolerance != tolerance:  # noqa: PLR0124 (NaN)
            raise RequestError("--tolerance: nan is not a number from 0 to 100")
        found = comparison.reconcile(LLMService(note=say).core, period)
        outside = found.outside(tolerance)
        if as_json:
            write_json(_as_json(found))
        else:
            write_text(harmless("\n".join(_as_text(found, vendor, outside) for vendor in found.vendors)))
        _say_what_is_missing(found)
        if outside:
            named = ", ".join(f"{provider} {day or 'in total'}" for provider, day in outside)
            say(f"outside the tolerance of {tolerance:g} %: {named}")
        if found.failed:
            raise typer.Exit(next(iter(found.failed.values())).exit_code)
        if outside:
            raise typer.Exit(exit_codes.TRY_LATER)


def _say_what_is_missing(found: Reconciliation) -> None:
    from llmroute.service.costs.vendor_reports import admin_key_variable

    for error in found.failed.values():
        say(f"not compared: {error_with_hint(error)}")
    for name in found.without_key:
        say(f"{name}: not compared (set {admin_key_variable(name)})")
    say(f"{' and '.join(found.without_report)} have no cost report: not compared")


def _as_json(found: Reconciliation) -> dict[str, Any]:
    return {
        "period": found.period,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(timespec="seconds"),
        "vendors": [
            {
                "provider": vendor.provider,
                **_sums(vendor.ledger_usd, vendor.vendor_usd),
                "days": [_day_as_json(day) for day in vendor.days],
                "explained": [
                    {"kind": one.kind, "usd": float(one.usd), "detail": one.detail} for one in vendor.explained
                ],
            }
            for vendor in found.vendors
        ],
    }


def _sums(ledger_usd: Decimal, vendor_usd: Decimal) -> dict[str, float]:
    return {
        "ledger_usd": float(ledger_usd),
        "vendor_usd": float(vendor_usd),
        "difference_usd": float(vendor_usd - ledger_usd),
    }


def _day_as_json(day: ComparedDay) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        **_sums(day.ledger_usd, day.vendor_usd),
        "models": [_model_as_json(one) for one in day.models],
    }


def _model_as_json(one: ModelDay) -> dict[str, Any]:
    return {
        "model": one.model,
        "ledger_usd": float(one.booked.usd),
        "vendor_usd": float(one.billed.usd),
        "ledger_input_tokens": one.booked.input_tokens,
        "vendor_input_tokens": one.billed.input_tokens,
        "ledger_output_tokens": one.booked.output_tokens,
        "vendor_output_tokens": one.billed.output_tokens,
    }


def _as_text(found: Reconciliation, vendor: ComparedVendor, outside: Iterable[tuple[str, date | None]]) -> str:
    marked = {day for provider, day in outside if provider == vendor.provider}
    rows = [
        _row(
            day.date.isoformat(),
            day.ledger_usd,
            day.vendor_usd,
            "not closed" if day.date >= found.today else "outside" if day.date in marked else "",
        )
        for day in vendor.days
    ]
    rows.append(_row("total", vendor.ledger_usd, vendor.vendor_usd, "outside" if None in marked else ""))
    lines = [f"  {_signed(one.usd)}: {cell(one.detail)}\n" for one in vendor.explained]
    causes = "difference by cause:\n" + "".join(lines) if lines else ""
    return f"{vendor.provider}\n" + columns(_HEAD, rows, _NUMBERS) + causes


def _row(label: str, ledger_usd: Decimal, vendor_usd: Decimal, mark: str) -> list[str]:
    return [label, _money(ledger_usd), _money(vendor_usd), _signed(vendor_usd - ledger_usd), mark]


def _money(usd: Decimal) -> str:
    return f"-{money(float(-usd))}" if usd < 0 else money(float(usd))


def _signed(usd: Decimal) -> str:
    return f"+{_money(usd)}" if usd > 0 else _money(usd)

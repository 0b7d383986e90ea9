"""The cost report as JSON, CSV and Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmroute.cli.output.costs.text import NONE, cost_sentence
from llmroute.cli.output.tables import cell
from llmroute.planning.usage_cost import usd
from llmroute.service.costs.spreadsheet import harmless_cell
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.ledger.reports import Line
    from llmroute.service.costs.report import CostReport

# Dimensions that an attempt may have no value of.
_OPTIONAL = ("workspace", "task", "strategy", "execution")


def as_json(report: CostReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    total = report.total
    return {
        "period": report.period,
        "since": report.since.isoformat() if report.since else None,
        "until": report.until.isoformat(timespec="seconds"),
        "workspace": report.workspace,
        "total_cost_usd": total.known_cost_usd,
        "unknown_cost_count": total.unknown_cost_count,
        "call_count": total.call_count,
        "pruned_count": report.pruned_count,
        "failed_count": total.failed_count,
        "rejected_count": total.rejected_count,
        "total_tokens": total.total_tokens,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cached_share": total.cached_share,
        "fallback_cost_usd": total.fallback_cost_usd,
        "cache_saved_usd": report.cache_saved_usd,
        "cache_saved_is_partial": report.cache_saving_is_partial,
        "by_model": [_line_as_json(line) for line in report.by_model],
        "groups": [_group_as_json(report, line) for line in report.groups],
        "unsure": {
            basis: {
                "call_count": part.call_count,
                "cost_usd": part.cost_picousd / PICO_PER_USD,
                "at_most_usd": None if basis == "at_least" else part.most_picousd / PICO_PER_USD,
            }
            for basis, part in report.unsure.parts()
        },
    }


def _line_as_json(line: Line) -> dict[str, Any]:
    return {
        **{name: None if name in _OPTIONAL and not value else value for name, value in line.key.items()},
        "cost_usd": line.known_cost_usd,
        "unknown_cost_count": line.unknown_cost_count,
        "call_count": line.call_count,
        "failed_count": line.failed_count,
        "rejected_count": line.rejected_count,
        "input_tokens": line.input_tokens,
        "cached_input_tokens": line.cached_input_tokens,
        "output_tokens": line.output_tokens,
        "reasoning_tokens": line.reasoning_tokens,
    }


def _group_as_json(report: CostReport, line: Line) -> dict[str, Any]:
    if report.by != "tier":
        return _line_as_json(line)
    saved = report.savings.get(line.key["tier"])
    return {
        **_line_as_json(line),
        "saved_usd": saved and usd(saved.picousd),
        "saved_is_partial": saved and saved.is_partial,
    }


def _table(report: CostReport) -> tuple[list[str], list[list[Any]]]:
    """Return the names and the values of the requested groups, else of the models."""
    lines = [_group_as_json(report, line) for line in (report.by_model if report.by is None else report.groups)]
    by = report.by or "model"
    head = list(_group_as_json(report, _empty({"provider": "", "model": ""} if by == "model" else {by: ""})))
    return head, [list(line.values()) for line in lines]


def _empty(key: dict[str, str]) -> Line:
    from llmroute.ledger.reports import Line

    return Line(key)


def as_csv(report: CostReport) -> str:
    """Return the table as CSV; a cost or a name that is not known is an empty cell."""
    import csv
    from io import StringIO

    head, rows = _table(report)
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["" if value is None else harmless_cell(exact(value)) for value in row] for row in rows])
    return out.getvalue()


def as_markdown(report: CostReport) -> str:
    """Return a cost report as a sentence and a table of Markdown."""
    head, rows = _table(report)
    names = 2 if head[1] == "model" else 1
    rule = ["---"] * names + ["---:"] * (len(head) - names)
    table = [head, rule, *([_markdown(value, head[at]) for at, value in enumerate(row)] for row in rows)]
    return f"{cost_sentence(report, _escaped)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in table)


def _markdown(value: Any, name: str) -> str:
    if value is None:
        return "unknown" if name == "cost_usd" else NONE
    return _escaped(exact(value))


def _escaped(text: str) -> str:
    """Return untrusted text escaped for Markdown and HTML."""
    text = re.sub(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", cell(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def exact(value: Any) -> str:
    """Return a value so that it can be read back: USD to the last pico, never as 1e-07."""
    return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

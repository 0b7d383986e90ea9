"""Render the page of a cost report: one HTML file with its style and script, without external requests."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmroute.cli.costs_page.tables import attempt_row, budget_row, day_chart, group_table, shortened
from llmroute.cli.output.charts import cost, sum_of
from llmroute.cli.output.costs.formats import exact
from llmroute.cli.output.costs.text import cost_sentence, detail_lines, saving_lines, what_if_text
from llmroute.cli.output.tables import cell
from llmroute.errors import OutputError
from llmroute.ledger.reports import PRUNED
from llmroute.service.costs.page_data import GROUPED_BY
from llmroute.text.plural import many
from llmroute.types import PICO_PER_USD
from llmroute.version import __version__

if TYPE_CHECKING:
    from datetime import datetime

    from llmroute.service.costs.page_data import CostPage
    from llmroute.service.costs.report import CostReport
    from llmroute.service.costs.savings import Saving

_INSTALL = "pip install 'llmroute[html]'"


def require_templates() -> None:
    """Check that jinja2 is installed.

    Raises:
        OutputError: it is not; the hint is the command that installs it.
    """
    if find_spec("jinja2") is None:
        raise OutputError("costs --html needs jinja2, which is not installed", hint=_INSTALL)


def rendered_page(page: CostPage, warn_at: float, now: datetime) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("llmroute.cli.costs_page")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    script = loader.get_source(templates, "sort.js")[0]
    view = {
        **_view(page, warn_at),
        "version": __version__,
        "written": f"{now:%Y-%m-%d %H:%M %z}",
        "style": loader.get_source(templates, "style.css")[0],
        "script": script,
        "script_hash": f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
    }
    text: str = templates.get_template("page.html").render(page=view)
    return text


def _view(page: CostPage, warn_at: float) -> dict[str, Any]:
    report, comparison, charts = page.screen.report, page.screen.comparison, page.screen.charts
    assert charts is not None
    total = report.total
    lines = {"model": report.by_model, **page.groups}
    if report.by is not None and report.by != "day":
        lines = {report.by: report.groups, **{by: found for by, found in lines.items() if by != report.by}}
    shown = {by: found for by, found in lines.items() if found and (by == report.by or _tells(by, found))}
    return {
        "title": _title(report),
        "total": cost(total),
        "total_usd": "" if total.known_cost_usd is None else exact(total.known_cost_usd),
        "sentence": cost_sentence(report),
        "details": [*detail_lines(report, comparison.before), *saving_lines(report)],
        "tiles": _tiles(page) if total.call_count else [],
        "budgets": [budget_row(status, warn_at) for status in charts.budgets],
        "days": day_chart(charts.days, total),
        "tables": [group_table(by, found) for by, found in shown.items()],
        "wide": ("model", report.by),
        "has_rejected": bool(total.rejected_count),
        "errors": _errors(page),
        "lack": _lack(report.pruned_count),
        "dearest": [attempt_row(row) for row in page.notable.dearest],
        "slowest": [attempt_row(row) for row in page.notable.slowest],
        "what_if": None if comparison.what_if is None else what_if_text(report, comparison.what_if),
    }


def _title(report: CostReport) -> str:
    """Return the span of the page, and its workspace."""
    if report.period is not None:
        span = {"day": "today", "all": "all time", "yesterday": "yesterday"}.get(report.period)
        span = span or f"this {report.period}".replace("this last-", "last ")
    elif report.since is not None:
        span = f"{report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"
    else:
        span = f"until {report.until:%Y-%m-%d}"
    whose = "" if report.workspace is None else f", workspace {cell(report.workspace) or '(none)'}"
    return f"LLM costs, {span}{whose}"


def _tells(by: str, lines: list[Any]) -> bool:
    """Whether a group has calls with a value of its dimension."""
    return by not in GROUPED_BY or len(lines) > 1 or bool(lines[0].key[by])


def _tiles(page: CostPage) -> list[dict[str, Any]]:
    report = page.screen.report
    total = report.total
    failed = total.failed_count / total.call_count
    tiles = [
        _tile("calls", f"{total.call_count:,}", total.call_count),
        _tile("failed", f"{total.failed_count:,} ({failed:.1%})", total.failed_count),
        *([_tile("rejected", f"{total.rejected_count:,}", total.rejected_count)] if total.rejected_count else []),
        _tile(
            "retries and fallbacks",
            sum_of(total.fallback_cost_usd, is_partial=bool(total.unknown_cost_count)),
            exact(total.fallback_cost_usd),
        ),
        _tile("tokens", f"{total.total_tokens:,}", total.total_tokens),
    ]
    if total.cached_input_tokens:
        note = f"{total.cached_input_tokens:,} cached tokens, at the prices of the calls"
        saved = sum_of(report.cache_saved_usd, is_partial=report.cache_saving_is_partial)
        tiles.append(_tile("saved by caches", saved, exact(report.cache_saved_usd), note))
    if page.batch_count:
        note = f"{many(page.batch_count, 'call')}, against today's standard list prices"
        tiles.append(_batch_tile(page.batch_saving, note, is_partial=report.pruned_count > 0))
    return tiles


def _batch_tile(saving: Saving | None, note: str, *, is_partial: bool) -> dict[str, Any]:
    if saving is None:
        return _tile("saved by batches", "unknown", "", note)
    usd = saving.picousd / PICO_PER_USD
    return _tile("saved by batches", sum_of(usd, is_partial=saving.is_partial or is_partial), exact(usd), note)


def _errors(page: CostPage) -> list[tuple[str, int]]:
    """Return the number of calls by error, and that of pruned calls, whose errors are not known."""
    total, found = page.screen.report.total, page.notable.failures
    pruned = total.failed_count + total.rejected_count - sum(count for _, count in found)
    rest = [(PRUNED, pruned)] if page.screen.report.pruned_count and pruned > 0 else []
    return [*((shortened(name), count) for name, count in found), *rest]


def _lack(pruned_count: int) -> str:
    """Return the note on lists of single calls."""
    return f"Without {many(pruned_count, 'pruned call')}." if pruned_count else ""


def _tile(name: str, text: str, value: object, note: str = "") -> dict[str, Any]:
    return {"name": name, "text": text, "value": value, "note": note}

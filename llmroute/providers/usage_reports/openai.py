"""OpenAI's cost and usage reports: `GET /organization/costs` and `GET /organization/usage/completions`.

Sources: openai 3.57.0 (`types/admin/organization/usage_costs_params.py`, `usage_costs_response.py`,
`usage_completions_params.py`, `usage_completions_response.py`, `_client.py`: query arrays with brackets, the admin key
as a bearer token) and the API reference of the administration endpoints (`amount.value` is in `amount.currency`;
`line_item` is a model with the kind of its tokens, such as `gpt-5-mini-2025-08-07, cached input`; times are UNIX
seconds; at most 180 buckets of costs and 31 of usage a page).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from llmroute.providers import openai
from llmroute.providers.usage_reports.report import (
    CostRow,
    ReportPage,
    UsageRow,
    amount,
    check_usd,
    name,
    precision,
    read_page,
    results,
    tokens,
)
from llmroute.types import HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint

_COST_DAYS = 180
_USAGE_DAYS = 31
# The kinds of tokens by which line items split a model.
_KINDS = ("input", "output", "cached input")


class OpenAIReports:
    """The reports of an organization at one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._provider = openai.connect(endpoint)
        self._faults = self._provider.faults

    def render_costs(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of costs by line item."""
        return self._render("costs", since, until, {"group_by[]": "line_item", "limit": _COST_DAYS}, page)

    def parse_costs(self, body: bytes) -> ReportPage[CostRow]:
        """Parse a page of costs."""
        return read_page(self._faults, body, self._costs, "the cost report")

    def render_usage(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of tokens by model."""
        return self._render("usage/completions", since, until, {"group_by[]": "model", "limit": _USAGE_DAYS}, page)

    def parse_usage(self, body: bytes) -> ReportPage[UsageRow]:
        """Parse a page of tokens."""
        return read_page(self._faults, body, _usage, "the usage report")

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse an error response."""
        return self._provider.parse_error(status, headers, body)

    def _render(self, path: str, since: date, until: date, query: dict[str, Any], page: str | None) -> HTTPRequest:
        query = {"start_time": _unix_s(since), "end_time": _unix_s(until), "bucket_width": "1d", **query}
        if page is not None:
            query["page"] = page
        url = f"{self._provider.base_url}/organization/{path}?{urlencode(query)}"
        return HTTPRequest("GET", url, self._provider.headers())

    def _costs(self, bucket: dict[str, Any]) -> Iterator[CostRow]:
        day = _day(bucket)
        for result in results(bucket):
            charged = result["amount"]
            if charged is None:
                continue
            usd = amount(charged["value"])
            check_usd(self._faults, charged["currency"])
            item = name(result.get("line_item"))
            yield CostRow(day, _model(item), usd, precision(usd), item)


def _usage(bucket: dict[str, Any]) -> Iterator[UsageRow]:
    day = _day(bucket)
    for result in results(bucket):
        read, written = tokens(result["input_tokens"]), tokens(result.get("output_tokens"))
        yield UsageRow(day, name(result.get("model")), read, written)


def _model(item: str) -> str:
    """Return the model of a line item; empty for what is charged otherwise, such as storage."""
    model, comma, kind = item.rpartition(", ")
    kind = kind.lower().removeprefix("batch ").removesuffix(" tokens")
    return model if comma and any(kind.startswith(known) for known in _KINDS) else ""


def _unix_s(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _day(bucket: dict[str, Any]) -> date:
    return datetime.fromtimestamp(int(bucket["start_time"]), UTC).date()


def connect(endpoint: Endpoint) -> OpenAIReports:
    """Return OpenAI's reports at `endpoint`."""
    return OpenAIReports(endpoint)

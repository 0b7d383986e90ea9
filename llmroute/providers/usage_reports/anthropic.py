"""Anthropic's reports: `GET /v1/organizations/cost_report` and `GET /v1/organizations/usage_report/messages`.

Sources: the reference of Anthropic's Admin API (`admin/cost_report` and `admin/usage_report/retrieve_messages`:
`amount` is a decimal string in cents, so "123.45" is $1.2345; `model` is given where costs are grouped by
`description`; times are RFC 3339 and buckets are UTC days, at most 31 a page; costs of Priority Tier are not in the
report) and anthropic 2.14.0 (`_client.py`: query arrays with brackets; an admin key is sent as `x-api-key`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from llmroute.providers import anthropic
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

_DAYS: Final = 31
_USD_PER_CENT: Final = Decimal("0.01")


class AnthropicReports:
    """The reports of an organization at one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._provider = anthropic.connect(endpoint)
        self._faults = self._provider.faults

    def render_costs(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of costs by description, which includes the model."""
        return self._render("cost_report", since, until, "description", page)

    def parse_costs(self, body: bytes) -> ReportPage[CostRow]:
        """Parse a page of costs; amounts in cents become USD."""
        return read_page(self._faults, body, self._costs, "the cost report")

    def render_usage(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of tokens by model."""
        return self._render("usage_report/messages", since, until, "model", page)

    def parse_usage(self, body: bytes) -> ReportPage[UsageRow]:
        """Parse a page of tokens."""
        return read_page(self._faults, body, _usage, "the usage report")

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse an error response."""
        return self._provider.parse_error(status, headers, body)

    def _render(self, path: str, since: date, until: date, group: str, page: str | None) -> HTTPRequest:
        query = {"starting_at": f"{since}T00:00:00Z", "ending_at": f"{until}T00:00:00Z", "bucket_width": "1d"}
        query |= {"group_by[]": group, "limit": str(_DAYS), **({} if page is None else {"page": page})}
        url = f"{self._provider.base_url}/organizations/{path}?{urlencode(query)}"
        return HTTPRequest("GET", url, self._provider.headers())

    def _costs(self, bucket: dict[str, Any]) -> Iterator[CostRow]:
        day = _day(bucket)
        for result in results(bucket):
            cents = amount(result["amount"])
            check_usd(self._faults, result["currency"])
            label = name(result.get("description")) or name(result.get("cost_type"))
            yield CostRow(
                day, name(result.get("model")), cents * _USD_PER_CENT, precision(cents) * _USD_PER_CENT, label
            )


def _usage(bucket: dict[str, Any]) -> Iterator[UsageRow]:
    day = _day(bucket)
    for result in results(bucket):
        written_to_cache = result.get("cache_creation") or {}
        read = (
            tokens(result["uncached_input_tokens"])
            + tokens(result.get("cache_read_input_tokens"))
            + sum(map(tokens, written_to_cache.values()))
        )
        yield UsageRow(day, name(result.get("model")), read, tokens(result["output_tokens"]))


def _day(bucket: dict[str, Any]) -> date:
    start = datetime.fromisoformat(bucket["starting_at"])
    return (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC).date()


def connect(endpoint: Endpoint) -> AnthropicReports:
    """Return Anthropic's reports at `endpoint`."""
    return AnthropicReports(endpoint)

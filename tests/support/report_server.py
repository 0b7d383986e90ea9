"""OpenAI's and Anthropic's cost and usage reports on loopback, built from rows, in pages of a few days."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.fault_server import Received, Script, reply

DAYS_A_PAGE = 2


@dataclass
class ReportServer:
    """Serves reports; `costs` are (day, model, amount as its wire form), `usage` (day, model, input, output)."""

    costs: list[tuple[date, str, str]] = field(default_factory=list)
    usage: list[tuple[date, str, int, int]] = field(default_factory=list)
    currency: str = "USD"
    loops: bool = False
    again: bool = False
    """Whether the last page is sent again, under another token."""
    status: int = 200
    key: str = ""
    failures: int = 1_000
    """How many requests get `status`; it asks for no pause before the next."""

    def __call__(self, received: Received) -> Script:
        if self.status != 200 and self.failures:
            self.failures -= 1
            told = {"error": {"message": f"Incorrect admin key provided: {self.key}", "type": "invalid_request_error"}}
            return [reply(self.status, json.dumps(told).encode(), headers={"retry-after": "0"})]
        url = urlsplit(received.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        openai = "/organization/" in url.path
        first, end = _span(query, openai=openai)
        page, _, repeated = query.get("page", "page-0").partition("+")
        skipped = int(page.removeprefix("page-"))
        days = [first + timedelta(days=number) for number in range((end - first).days)]
        shown = days[skipped : skipped + DAYS_A_PAGE]
        is_last = len(days) <= skipped + DAYS_A_PAGE
        more = not is_last or self.loops or (self.again and not repeated)
        bucket = self._openai if openai else self._anthropic
        body = {
            "data": [bucket(day, "cost" in url.path) for day in shown],
            "has_more": more,
            "next_page": self._next(skipped, is_last) if more else None,
        }
        return [reply(200, json.dumps(body).encode())]

    def _next(self, skipped: int, is_last: bool) -> str:
        if self.loops:
            return "page-0"
        return f"page-{skipped}+again" if is_last else f"page-{skipped + DAYS_A_PAGE}"

    def _openai(self, day: date, costs: bool) -> dict[str, Any]:
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        results: list[dict[str, Any]]
        if costs:
            results = [
                {"line_item": f"{model}, input", "amount": {"value": float(usd), "currency": self.currency.lower()}}
                for at, model, usd in self.costs
                if at == day
            ]
        else:
            results = [
                {"model": model, "input_tokens": read, "output_tokens": written}
                for at, model, read, written in self.usage
                if at == day
            ]
        return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results}

    def _anthropic(self, day: date, costs: bool) -> dict[str, Any]:
        results: list[dict[str, Any]]
        if costs:
            results = [
                {"model": model, "description": model, "amount": cents, "currency": self.currency}
                for at, model, cents in self.costs
                if at == day
            ]
        else:
            results = [
                {
                    "model": model,
                    "uncached_input_tokens": read - 3,
                    "cache_read_input_tokens": 1,
                    "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
                    "output_tokens": written,
                }
                for at, model, read, written in self.usage
                if at == day
            ]
        until = day + timedelta(days=1)
        return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{until}T00:00:00Z", "results": results}


def _span(query: dict[str, str], *, openai: bool) -> tuple[date, date]:
    if openai:
        first, end = (datetime.fromtimestamp(int(query[name]), UTC).date() for name in ("start_time", "end_time"))
        return first, end
    return date.fromisoformat(query["starting_at"][:10]), date.fromisoformat(query["ending_at"][:10])

"""Send attempts to an OpenTelemetry collector: at least once, from where the last export ended."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.config.provider_settings import is_header, plain_http_problem
from llmroute.errors import BadOutputError, ConfigError, RequestError, TransientError
from llmroute.ledger.reports import Line
from llmroute.service.costs.attempts import Selection, selected_from
from llmroute.service.costs.exports import otlp
from llmroute.service.costs.exports.positions import Position
from llmroute.service.costs.exports.pruned import pruned_sum
from llmroute.text.redaction import Redaction, public
from llmroute.types import HTTPRequest
from llmroute.urls import is_base_url

if TYPE_CHECKING:
    from typing import Any

    from llmroute.config import Config
    from llmroute.service.core import ServiceCore

_ATTEMPTS_A_REQUEST: Final = 500
_CONNECT_S: Final = 5.0
_REQUEST_S: Final = 30.0
_OK: Final = range(200, 300)
_CONTINUES: Final = "the next export continues where this one ended"
_MAX_REASON_CHARACTERS: Final = 200
HEADERS_VARIABLE: Final = "OTEL_EXPORTER_OTLP_HEADERS"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Of the request itself.
_OWN_HEADERS: Final = ("connection", "content-length", "content-type", "host", "transfer-encoding")


class SentAttempts(NamedTuple):
    """How many attempts were sent; `complaint` is the collector's message about the parts that it rejected.

    `pruned` is the sum of the attempts that a first export to a URL lacks; later ones may have been sent before.
    """

    attempt_count: int
    pruned: Line
    complaint: str | None = None


class _Batch(NamedTuple):
    """Attempts in order of their ids, which is not that of their times, and the time before which they are sent."""

    rows: list[dict[str, Any]]
    until_ms: int | None

    def is_due(self, row: dict[str, Any]) -> bool:
        """Whether an attempt is sent now."""
        return row["status"] != "pending" and (self.until_ms is None or row["started_ms"] < self.until_ms)


class _Rejected(NamedTuple):
    """How many spans or points a collector did not take, and the last reason that it gave."""

    number: int = 0
    reason: str = ""

    def plus(self, other: _Rejected) -> _Rejected:
        return _Rejected(self.number + other.number, other.reason or self.reason)


def send(core: ServiceCore, url: str, selection: Selection | None = None) -> SentAttempts:
    """Send the selected attempts that an earlier export to this URL has not sent, as spans and metrics.

    A pending attempt is sent once it is settled, and one after the selected time once that has passed; those after it
    are then sent again, with the same ids.

    The headers of OTEL_EXPORTER_OTLP_HEADERS are sent with each request.

    Raises:
        RequestError: the URL or a time is not valid.
        ConfigError: the headers are not valid, or may not be sent to this URL.
        AttemptError: the collector does not answer, or rejects a request; the next export continues there.
        LedgerError: the ledger cannot be read.
        OutputError: the position cannot be written.
    """
    _require_url(url)
    url = url.rstrip("/")
    headers = exporter_headers(os.environ.get(HEADERS_VARIABLE, ""), url)
    selection = selection or Selection()
    position = Position(core.config, url, selection)
    after, until_id, pruned = _begin(core.config, position, selection)
    is_complete, count = True, 0
    rejected = {f"{url}/v1/traces": _Rejected(), f"{url}/v1/metrics": _Rejected()}
    while (batch := _read(core.config, after, until_id, selection)).rows:
        rows = batch.rows
        settled = [row for row in rows if batch.is_due(row) and selection.status in (None, row["status"])]
        if settled:
            for place, body in zip(rejected, (otlp.traces, otlp.metrics), strict=True):
                rejected[place] = rejected[place].plus(_post(core, place, headers, body(settled)))
        count += len(settled)
        after = rows[-1]["id"]
        if is_complete:
            due = list(takewhile(batch.is_due, rows))
            is_complete = len(due) == len(rows)
            if due:
                position.write(due[-1])
    complaints = [
        f"{public(place)} rejected {one.number:,}: {one.reason}" for place, one in rejected.items() if any(one)
    ]
    return SentAttempts(count, pruned, "; ".join(complaints) or None)


def _require_url(url: str) -> None:
    if not is_base_url(url):
        raise RequestError(
            f"{public(url)!r} is not a URL like http://127.0.0.1:4318, without user and query",
            hint=f"{HEADERS_VARIABLE} has a user's token",
            option="to",
        )


def _begin(config: Config, position: Position, selection: Selection) -> tuple[int, int | None, Line]:
    """Return the id after which attempts are sent, the one before which they are, None for all, and those pruned."""
    with selected_from(config, selection) as (reading, wanted):
        if reading is None:
            return 0, None, Line()
        after = position.read(reading)
        return after, reading.complete_until_id(), Line() if after else pruned_sum(reading, wanted)


def _read(config: Config, after: int, until_id: int | None, selection: Selection) -> _Batch:
    """Read the next attempts of any status and end, as a pending one may get the selected one; sends nothing."""
    with selected_from(config, selection) as (reading, wanted):
        of_any_status = replace(wanted, status=None, until_ms=None)
        rows = [] if reading is None else reading.attempts_after(after, _ATTEMPTS_A_REQUEST, of_any_status)
    rows = [row for row in rows if until_id is None or row["id"] < until_id]
    return _Batch(rows, wanted.until_ms)


def exporter_headers(text: str, url: str) -> dict[str, str]:
    """Return headers from `name=value,name=value`, where values are percent-encoded.

    Raises:
        ConfigError: a pair is not one, or the headers would go to another machine over plain http.
    """
    from urllib.parse import unquote

    found: dict[str, str] = {}
    for number, pair in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, sign, value = (part.strip() for part in pair.partition("="))
        value = unquote(value)
        if not (sign and _HEADER_NAME.fullmatch(name) and is_header(value)) or name.lower() in _OWN_HEADERS:
            # The pair may hold a token.
            raise ConfigError(f"{HEADERS_VARIABLE}: pair {number} is not a header", hint="name=value,name=value")
        found[name.lower()] = value
    if found and plain_http_problem("", url):
        raise ConfigError(
            f"{HEADERS_VARIABLE}: headers are sent over plain http to this machine only", hint="use https"
        )
    return found


def _post(core: ServiceCore, url: str, headers: dict[str, str], body: bytes) -> _Rejected:
    """Send an export request; return what the collector did not take."""
    until = time.monotonic() + _REQUEST_S
    request = HTTPRequest("POST", url, {**headers, "content-type": "application/json"}, body)
    with core.resources.blocking_sender().open(
        request, connect_s=_CONNECT_S, answer_s=_REQUEST_S - _CONNECT_S
    ) as exchange:
        try:
            answer = exchange.read_all(lambda: max(until - time.monotonic(), 0.001)).strip()
        except BadOutputError as error:
            raise TransientError(f"{public(url)}: {error.message}", hint=_CONTINUES) from error
    if exchange.status not in _OK:
        raise TransientError(f"{public(url)} answers {exchange.status}", hint=_CONTINUES)
    try:
        reply = json.loads(answer or b"{}")
    except (ValueError, RecursionError):
        # A request in JSON gets a reply in JSON (OTLP/HTTP); a page is that of another server, such as a proxy.
        raise TransientError(
            f"{public(url)} answers {exchange.status} and no JSON, as no collector does",
            hint=f"check the URL; {_CONTINUES}",
        ) from None
    try:
        partial = reply.get("partialSuccess") or {}
        rejected = int(next((partial[name] for name in partial if name.startswith("rejected")), 0) or 0)
        secrets = (secret for value in headers.values() for secret in (value, *value.split()))
        reason = Redaction.of(secrets, ()).line(str(partial.get("errorMessage") or ""), _MAX_REASON_CHARACTERS)
    except (ValueError, AttributeError, TypeError, OverflowError):
        # The JSON of a success need not be of this form.
        return _Rejected()
    return _Rejected(max(rejected, 0), reason)

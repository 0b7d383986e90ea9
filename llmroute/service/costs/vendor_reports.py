"""Fetch providers' cost and usage reports with admin keys, page after page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    RateLimitError,
    TransientError,
    VendorReportError,
)
from llmroute.providers.usage_reports.report import REPORTING, CostRow, UsageRow, connect
from llmroute.text.plural import many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from llmroute.config import Config
    from llmroute.errors import LLMRouteError
    from llmroute.providers.usage_reports.report import ReportPage, UsageReports
    from llmroute.service.core import ServiceCore
    from llmroute.types import HTTPRequest

Row = TypeVar("Row", CostRow, UsageRow)

_CONNECT_S: Final = 5.0
_PAGE_S: Final = 60.0
_MOST_PAGES: Final = 1_000
# Before the second and the third request of a page, where the provider names no pause; a longer one is not waited for.
_PAUSES_S: Final = (1.0, 4.0)
_LONGEST_PAUSE_S: Final = 60.0
_OK: Final = 200
_NOT_ALLOWED: Final = (401, 403)


class VendorBill(NamedTuple):
    """The rows of a provider's cost report and of its usage report."""

    costs: tuple[CostRow, ...]
    usage: tuple[UsageRow, ...]


def admin_key_variable(provider: str) -> str:
    """Return the variable of a provider's admin key."""
    from llmroute.config.env import ADMIN_KEYS

    return ADMIN_KEYS[provider]


def readable(config: Config) -> tuple[str, ...]:
    """Return the providers with an admin key.

    Raises:
        AuthenticationError: there is none.
    """
    of_provider = config.providers
    found = tuple(name for name in REPORTING if of_provider[name].admin_key or of_provider[name].admin_problem)
    if not found:
        variables = " or ".join(map(admin_key_variable, REPORTING))
        raise AuthenticationError(
            "no admin key, which the cost reports of a provider need", hint=f"set {variables} in the environment"
        )
    return found


def fetch(core: ServiceCore, provider: str, since: date, until: date) -> VendorBill:
    """Return a provider's reports of the UTC days from `since` to before `until`.

    Raises:
        AuthenticationError: the admin key is rejected, or may not be sent to the provider's base URL.
        VendorReportError: a report cannot be used.
        AttemptError: a report was not returned.
    """
    if problem := core.config.providers[provider].admin_problem:
        raise AuthenticationError(f"{admin_key_variable(provider)} is not sent: {problem}", provider=provider)
    reports = connect(provider, core.endpoints.admin_endpoint(provider))
    costs = _all_rows(core, provider, reports, reports.parse_costs, lambda p: reports.render_costs(since, until, p))
    usage = _all_rows(core, provider, reports, reports.parse_usage, lambda p: reports.render_usage(since, until, p))
    # A gateway may send other days than those that were requested.
    return VendorBill(
        tuple(row for row in costs if since <= row.day < until),
        tuple(row for row in usage if since <= row.day < until),
    )


def _all_rows(
    core: ServiceCore,
    provider: str,
    reports: UsageReports,
    parse: Callable[[bytes], ReportPage[Row]],
    render: Callable[[str | None], HTTPRequest],
) -> tuple[Row, ...]:
    rows: list[Row] = []
    reported: set[tuple[date, str]] = set()
    seen: set[str | None] = {None}
    token: str | None = None
    for _ in range(_MOST_PAGES):
        body = _body(core, provider, reports, render(token))
        try:
            page = parse(body)
        except AttemptError as error:
            raise _error(provider, error.http_status or _OK, error) from error
        token = page.next_page
        if token in seen and token is not None:
            raise VendorReportError(f"{provider}: the pages of a report do not end: a page token came twice")
        seen.add(token)
        for bucket in page.buckets:
            _require_new(provider, bucket, reported)
            rows += bucket
        if token is None:
            return tuple(rows)
    raise VendorReportError(f"{provider}: the pages of a report do not end: {many(_MOST_PAGES, 'page')} were read")


def _require_new(provider: str, bucket: Sequence[CostRow | UsageRow], reported: set[tuple[date, str]]) -> None:
    """Add the subjects of a bucket to `reported`; several of its rows, as by service tier, may have one subject.

    Raises:
        VendorReportError: an earlier bucket has it: a page that is sent again must not be counted again.
    """
    subjects = {(row.day, row.subject) for row in bucket}
    if again := min(reported & subjects, default=None):
        raise VendorReportError(f"{provider}: a report has {again[0]} twice, on pages or in buckets that overlap")
    reported |= subjects


def _body(core: ServiceCore, provider: str, reports: UsageReports, request: HTTPRequest) -> bytes:
    """Return a page; after a rate limit or a server error it is requested again, after the requested pause."""
    for pause_s in _PAUSES_S:
        try:
            return _requested(core, provider, reports, request)
        except (RateLimitError, TransientError) as error:
            wanted_s = pause_s if error.retry_after_s is None else error.retry_after_s
            if wanted_s > _LONGEST_PAUSE_S:
                raise
            time.sleep(wanted_s)
    return _requested(core, provider, reports, request)


def _requested(core: ServiceCore, provider: str, reports: UsageReports, request: HTTPRequest) -> bytes:
    until = time.monotonic() + _PAGE_S

    def left_s() -> float:
        return max(until - time.monotonic(), 0.001)

    try:
        with core.resources.blocking_sender().open(
            request, connect_s=_CONNECT_S, answer_s=_PAGE_S - _CONNECT_S
        ) as exchange:
            body = exchange.read_all(left_s)
    except BadOutputError as error:
        raise VendorReportError(f"{provider}: {error.message}") from error
    except AttemptError as error:
        error.provider = provider
        raise
    if exchange.status == _OK:
        return body
    raise _error(provider, exchange.status, reports.parse_error(exchange.status, exchange.headers, body))


def _error(provider: str, status: int, parsed: AttemptError) -> LLMRouteError:
    if status in _NOT_ALLOWED or isinstance(parsed, AuthenticationError):
        hint = f"check {admin_key_variable(provider)}: it must be an admin key of the organization"
        return AuthenticationError(parsed.message, provider=provider, http_status=status, hint=hint)
    if isinstance(parsed, RateLimitError | TransientError):
        return parsed
    hint = f"check {provider.upper()}_BASE_URL, below which the report is read"
    return VendorReportError(f"{provider}: {status} {parsed.message}", hint=hint)

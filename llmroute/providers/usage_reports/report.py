"""Rows and pages of a provider's cost and usage reports, and the contract of the providers that have them."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from llmroute.errors import VendorReportError
from llmroute.providers.errors.parser import is_error
from llmroute.providers.wire import lenient_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date

    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint
    from llmroute.providers.errors.parser import ErrorParser
    from llmroute.types import HTTPRequest

_MODULES: Final = {
    "openai": "llmroute.providers.usage_reports.openai",
    "anthropic": "llmroute.providers.usage_reports.anthropic",
}
REPORTING: Final = tuple(_MODULES)
"""The providers with cost reports."""
_MOST_USD: Final = 10**12
_MOST_TOKENS: Final = 10**15


class CostRow(NamedTuple):
    """An amount in USD that a provider charges for a UTC day; `model` is empty for charges of no model.

    `precision_usd` is the last decimal place of the amount: it may have been rounded by half of that.
    """

    day: date
    model: str
    usd: Decimal
    precision_usd: Decimal
    label: str = ""

    @property
    def subject(self) -> str:
        """The item that is charged: the key of the row of a day."""
        return self.label or self.model


class UsageRow(NamedTuple):
    """Tokens of a model on a UTC day; input includes tokens read from a cache and written to one."""

    day: date
    model: str
    input_tokens: int
    output_tokens: int

    @property
    def subject(self) -> str:
        """The model: the key of the row of a day."""
        return self.model


Row = TypeVar("Row", CostRow, UsageRow)


class ReportPage(NamedTuple, Generic[Row]):
    """The rows of each bucket of a page, and the token of the next page."""

    buckets: tuple[tuple[Row, ...], ...]
    next_page: str | None = None


class UsageReports(Protocol):
    """The reports of a provider at one endpoint, by UTC day; `until` is exclusive."""

    def render_costs(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of the cost report."""

    def parse_costs(self, body: bytes) -> ReportPage[CostRow]:
        """Parse a page of the cost report.

        Raises:
            VendorReportError: it is not a cost report, or has an amount that is not in USD.
            AttemptError: it is an error.
        """

    def render_usage(self, since: date, until: date, page: str | None = None) -> HTTPRequest:
        """Render the request for a page of the usage report."""

    def parse_usage(self, body: bytes) -> ReportPage[UsageRow]:
        """Parse a page of the usage report; raises as `parse_costs`."""

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Parse an error response.  `headers` have lower-case names."""


def connect(name: str, endpoint: Endpoint) -> UsageReports:
    """Return the reports of a provider, importing only its module; the endpoint has the admin key."""
    reports: UsageReports = import_module(_MODULES[name]).connect(endpoint)
    return reports


def read_page(
    faults: ErrorParser, body: bytes, parse: Callable[[dict[str, Any]], Iterator[Row]], what: str
) -> ReportPage[Row]:
    """Read a page whose `data` are the buckets that `parse` takes; numbers with a point are Decimal.

    A page without its documented fields is an error: it must not count as a day without costs.

    Raises:
        VendorReportError, AttemptError: as `UsageReports.parse_costs`.
    """
    try:
        payload = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation):
        raise unreadable(faults, f"{what} is not JSON") from None
    payload = lenient_json.mapping(payload)
    if is_error(payload):
        raise faults.in_band(payload)
    data, more, page = payload.get("data"), payload.get("has_more"), payload.get("next_page")
    if not isinstance(data, list) or not all(isinstance(bucket, dict) for bucket in data) or not isinstance(more, bool):
        raise unreadable(faults, f"the response is not {what}")
    if more and not (isinstance(page, str) and page):
        raise unreadable(faults, f"{what} has further pages, and no token for them")
    try:
        buckets = tuple(tuple(parse(bucket)) for bucket in data)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError):
        raise unreadable(faults, f"{what} has a row that cannot be read") from None
    return ReportPage(buckets, page if more else None)


def unreadable(faults: ErrorParser, what: str) -> VendorReportError:
    """Return the error for a report that cannot be used."""
    return VendorReportError(f"{faults.provider}: {what}")


def results(bucket: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a bucket.

    Raises:
        ValueError: there are none.
    """
    found = bucket["results"]
    if not isinstance(found, list) or not all(isinstance(result, dict) for result in found):
        raise ValueError("no results")
    return found


def check_usd(faults: ErrorParser, currency: object) -> None:
    """Check the currency of an amount.

    Raises:
        VendorReportError: it is not USD.
    """
    if not isinstance(currency, str) or currency.upper() != "USD":
        shown = faults.redaction.line(str(currency), 20)
        raise VendorReportError(
            f"{faults.provider}: the cost report has an amount in {shown!r}", hint="only USD can be compared"
        )


def amount(value: object) -> Decimal:
    """Return an amount of money from a number or a decimal string.

    Raises:
        ValueError, InvalidOperation: it is not an amount.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("not an amount")  # noqa: TRY004 (an untrusted value)
    found = Decimal(value)
    if not found.is_finite() or abs(found) > _MOST_USD:
        raise ValueError("not an amount")
    return found


def precision(value: Decimal) -> Decimal:
    """Return the last decimal place of an amount."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(min(exponent, 0))


def name(value: object) -> str:
    """Return a name; a missing one is empty.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("not a name")  # noqa: TRY004 (an untrusted value)
    return value


def tokens(value: object) -> int:
    """Return a number of tokens; a missing one is zero.

    Raises:
        ValueError: it is not a count.
    """
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        raise ValueError("not a number of tokens")
    return value


def _no_number(name: str) -> None:
    raise ValueError(name)

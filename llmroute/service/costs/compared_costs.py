"""The ledger beside providers' bills: days, models, differences and their causes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from llmroute.service.costs.explain import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from llmroute.errors import LLMRouteError
    from llmroute.service.costs.explain import Billed, Booked, Kind


@dataclass(frozen=True, slots=True)
class ModelDay:
    """A model on a day, as the ledger has it and as the provider bills it."""

    model: str
    booked: Booked
    billed: Billed


@dataclass(frozen=True, slots=True)
class ComparedDay:
    """A UTC day; `rounding_usd` is the part of the difference that comes from rounding."""

    date: date
    models: tuple[ModelDay, ...]
    rounding_usd: Decimal

    @property
    def ledger_usd(self) -> Decimal:
        """The costs in the ledger."""
        return sum((one.booked.usd for one in self.models), ZERO)

    @property
    def vendor_usd(self) -> Decimal:
        """The costs that the provider reports."""
        return sum((one.billed.usd for one in self.models), ZERO)

    @property
    def difference_usd(self) -> Decimal:
        """How much more the provider reports."""
        return self.vendor_usd - self.ledger_usd


@dataclass(frozen=True, slots=True)
class Explanation:
    """A part of the difference, in USD, with its cause."""

    kind: Kind
    usd: Decimal
    detail: str


@dataclass(frozen=True, slots=True)
class ComparedVendor:
    """A provider's bill beside the ledger; the explanations add up to the difference."""

    provider: str
    days: tuple[ComparedDay, ...]
    explained: tuple[Explanation, ...]

    @property
    def ledger_usd(self) -> Decimal:
        """The costs in the ledger."""
        return sum((day.ledger_usd for day in self.days), ZERO)

    @property
    def vendor_usd(self) -> Decimal:
        """The costs that the provider reports."""
        return sum((day.vendor_usd for day in self.days), ZERO)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison of a period in UTC; `today` is not closed.

    `failed` are the providers whose reports could not be read, `without_key` those whose reports were not requested,
    `without_report` those that have none.
    """

    period: str | None
    since: datetime
    until: datetime
    today: date
    vendors: tuple[ComparedVendor, ...]
    failed: dict[str, LLMRouteError]
    without_key: tuple[str, ...]
    without_report: tuple[str, ...]

    def outside(self, tolerance_percent: float) -> list[tuple[str, date | None]]:
        """Return the closed days, by provider, that differ by more than a percentage of the provider's bill.

        None is all closed days together.  Rounding is no difference.
        """
        most = Decimal(str(tolerance_percent)) / 100
        found: list[tuple[str, date | None]] = []
        for vendor in self.vendors:
            closed = [day for day in vendor.days if day.date < self.today]
            found += [(vendor.provider, day.date) for day in closed if _is_outside((day,), most)]
            if _is_outside(closed, most):
                found.append((vendor.provider, None))
        return found


def _is_outside(days: Iterable[ComparedDay], most: Decimal) -> bool:
    found = list(days)
    difference = sum((day.difference_usd - day.rounding_usd for day in found), ZERO)
    return abs(difference) > most * abs(sum((day.vendor_usd for day in found), ZERO))

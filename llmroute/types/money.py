"""Amounts of money: USD outside, integer pico-USD inside, so that sums are exact."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

PICO_PER_USD = 10**12
MOST_USD = 10**6
"""The highest budget or cap that may be set."""


def as_picousd(usd: "float | Decimal") -> int:
    """Return an amount in USD as pico-USD."""
    return round(usd * PICO_PER_USD)

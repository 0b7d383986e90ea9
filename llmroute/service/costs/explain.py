"""Explain the difference between a provider's bill and the ledger, for one model and one day."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal[
    "other_calls", "missing_calls", "at_most", "estimated", "unknown_cost", "price", "rounding", "unexplained"
]
MEANINGS: Final[dict[Kind, str]] = {
    "other_calls": "the provider reports tokens that the ledger does not have, as of another program's calls",
    "missing_calls": "the ledger has tokens that the provider does not report, as of another organization's key",
    "at_most": "the ledger has the reservations of attempts whose usage is not known",
    "estimated": "the ledger has estimated costs",
    "unknown_cost": "the ledger has attempts whose cost is not known, or known in part",
    "price": "the provider charges another price for the tokens that both have",
    "rounding": "the provider's amounts are rounded",
    "unexplained": "the provider reports no tokens to compare",
}
"""The causes of a difference."""

ZERO: Final = Decimal(0)


class Booked(NamedTuple):
    """The ledger's figures of a model on a day; costs in USD.

    `at_most_usd` and `estimated_usd` are the parts of the cost that are not exact, `more_usd` how much higher than
    estimated the cost may be.  `open_count` counts attempts of which no upper bound is known.
    """

    usd: Decimal = ZERO
    input_tokens: int = 0
    output_tokens: int = 0
    at_most_usd: Decimal = ZERO
    estimated_usd: Decimal = ZERO
    more_usd: Decimal = ZERO
    open_count: int = 0

    def plus(self, other: Booked) -> Booked:
        """Return the sum of both."""
        return Booked(
            self.usd + other.usd,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.at_most_usd + other.at_most_usd,
            self.estimated_usd + other.estimated_usd,
            self.more_usd + other.more_usd,
            self.open_count + other.open_count,
        )


class Billed(NamedTuple):
    """The provider's figures of a model on a day; `rounding_usd` is how far its amounts may be rounded."""

    usd: Decimal = ZERO
    input_tokens: int = 0
    output_tokens: int = 0
    rounding_usd: Decimal = ZERO

    def plus(self, other: Billed) -> Billed:
        """Return the sum of both."""
        return Billed(
            self.usd + other.usd,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.rounding_usd + other.rounding_usd,
        )


class Rates(NamedTuple):
    """The list price of a token in USD."""

    input_usd: Decimal
    output_usd: Decimal


def explain(booked: Booked, billed: Billed, rates: Rates | None) -> Iterator[tuple[Kind, Decimal]]:
    """Yield the parts of `billed.usd - booked.usd`, whose sum it is, with the cause of each."""
    rest = billed.usd - booked.usd
    if rest == 0:
        return
    if abs(rest) <= billed.rounding_usd:
        yield "rounding", rest
        return
    parts = _too_low(rest, booked, billed) if rest < 0 else _too_high(rest, booked, billed, rates)
    for kind, usd in parts:
        if usd:
            rest -= usd
            yield kind, usd
    if rest:
        yield ("rounding" if abs(rest) <= billed.rounding_usd else _otherwise(booked, billed)), rest


def _too_low(rest: Decimal, booked: Booked, billed: Billed) -> Iterator[tuple[Kind, Decimal]]:
    """The provider charges less than the ledger has."""
    at_most = min(-rest, booked.at_most_usd)
    yield "at_most", -at_most
    estimated = min(-rest - at_most, booked.estimated_usd)
    yield "estimated", -estimated
    left = rest + at_most + estimated
    fewer = billed.input_tokens < booked.input_tokens or billed.output_tokens < booked.output_tokens
    if abs(left) > billed.rounding_usd and fewer and (_has_tokens(billed) or not billed.usd):
        yield "missing_calls", left


def _too_high(rest: Decimal, booked: Booked, billed: Billed, rates: Rates | None) -> Iterator[tuple[Kind, Decimal]]:
    """The provider charges more than the ledger has."""
    more_input = max(billed.input_tokens - booked.input_tokens, 0)
    more_output = max(billed.output_tokens - booked.output_tokens, 0)
    if more_input or more_output:
        most = None if rates is None else more_input * rates.input_usd + more_output * rates.output_usd
        other = rest if most is None or booked == Booked() else min(rest, most)
        yield "other_calls", other
        rest -= other
    more = min(rest, booked.more_usd)
    yield "estimated", more
    if booked.open_count:
        yield "unknown_cost", rest - more


def _otherwise(booked: Booked, billed: Billed) -> Kind:
    return "price" if _has_tokens(billed) and _has_tokens(booked) else "unexplained"


def _has_tokens(side: Booked | Billed) -> bool:
    return bool(side.input_tokens or side.output_tokens)

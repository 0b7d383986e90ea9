"""Amounts of money for people."""

from math import floor, log10

_FOUR_DECIMALS_USD = 0.0001
_LEAST_USD = 0.0000001


def money(usd: float | None) -> str:
    """Return USD for display; an unknown cost is "cost unknown", never zero."""
    if usd is None:
        return "cost unknown"
    if usd == 0 or usd >= 1:
        return f"${usd:,.2f}"
    if usd < _LEAST_USD:
        return f"<${_LEAST_USD:.7f}"
    # Four decimals, or two significant digits.
    return f"${usd:.4f}" if usd >= _FOUR_DECIMALS_USD else f"${usd:.{1 - floor(log10(usd))}f}".rstrip("0")

"""Logging under the logger `llmroute`, without output unless the program configures logging."""

from __future__ import annotations

import logging

logging.getLogger("llmroute").addHandler(logging.NullHandler())
_logger = logging.getLogger("llmroute.service")


def warn(text: str) -> None:
    """Log a problem: a fallback, a rejected key, a ledger that cannot be written."""
    _logger.warning("%s", text)


def trace(text: str) -> None:
    """Log a step of a request."""
    _logger.debug("%s", text)

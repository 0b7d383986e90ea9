"""What a program that uses llmroute as a library finds in its logs, under `llmroute`; it is silent until it asks."""

from __future__ import annotations

import logging

logging.getLogger("llmroute").addHandler(logging.NullHandler())
_logger = logging.getLogger("llmroute.service")


def warn(text: str) -> None:
    """Log what a person should know: a fallback, a key that was refused, a ledger that cannot be written."""
    _logger.warning("%s", text)


def trace(text: str) -> None:
    """Log a step of a request."""
    _logger.debug("%s", text)

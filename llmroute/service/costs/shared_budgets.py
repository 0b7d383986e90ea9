"""Caps for all hosts of a ledger on a server, in a time zone of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from llmroute.errors import RequestError
from llmroute.ledger import opening
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.config import Config

_LOCAL_TIME = Path("/etc/localtime")


def set_shared(config: Config, caps_usd: Mapping[str, float | None], workspace: str, zone: str | None) -> None:
    """Set caps by period for all hosts, None lifts one; `zone` None is the time zone of this machine.

    Raises:
        RequestError: there is no such time zone.
        LedgerError: the server cannot be reached, or the role may not write.
    """
    name = zone or local_zone()
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise RequestError(f"unknown time zone {name!r}", hint="such as Europe/Berlin or UTC") from error
    for period, usd in caps_usd.items():
        picousd = None if usd is None else round(usd * PICO_PER_USD)
        opening.set_shared_cap(config.ledger, workspace, period, picousd, name)


def local_zone() -> str:
    """Return the IANA name of this machine's time zone, UTC where it has none."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named:
        named = str(_LOCAL_TIME.resolve()).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(named).key if named else "UTC"
    except (KeyError, ValueError, OSError):
        return "UTC"

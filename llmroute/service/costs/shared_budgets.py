"""Caps for all hosts of a ledger on a server, in a time zone of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from llmroute.errors import RequestError
from llmroute.ledger import opening
from llmroute.text.option_text import OptionText, Remedy
from llmroute.types import as_picousd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.config import Config

_LOCAL_TIME = Path("/etc/localtime")
# Files among those of the time zones that differ between machines, and folders that some machines lack.
_OF_ONE_MACHINE = ("localtime", "posixrules", "posix/", "right/")


def set_shared(config: Config, caps_usd: Mapping[str, float | None], workspace: str, zone: str | None) -> None:
    """Set caps by period for all hosts, None lifts one; `zone` None is the time zone of this machine.

    Raises:
        RequestError: there is no such time zone, or this machine's has no name.
        LedgerError: the server cannot be reached, or the role may not write.
    """
    name = zone or local_zone()
    if not _is_zone(name):
        raise RequestError(f"{name!r} is not the name of a time zone", hint="such as Europe/Berlin or UTC")
    for period, usd in caps_usd.items():
        picousd = None if usd is None else as_picousd(usd)
        opening.set_shared_cap(config.ledger, workspace, period, picousd, name)


def local_zone() -> str:
    """Return the IANA name of this machine's time zone, UTC where it has none.

    Raises:
        RequestError: it is a rule or a file without a name.
    """
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named and not _LOCAL_TIME.exists():
        return "UTC"
    # As a path, it ends in the name.
    name = (named or str(_LOCAL_TIME.resolve())).rpartition("zoneinfo/")[2]
    if not _is_zone(name):
        raise RequestError(
            f"the time zone of this machine ({named or _LOCAL_TIME}) has no name",
            hint=OptionText("name one with ", Remedy("zone"), ", such as Europe/Berlin or UTC"),
        )
    return name


def _is_zone(name: str) -> bool:
    """Whether every machine knows a time zone by this name."""
    if name.startswith(_OF_ONE_MACHINE):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True

"""Command-line flags for the options that texts of the library name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llmroute.text.option_text import Remedy

_FLAGS: Final = {
    "budget_usd": "--budget",
    "delimiter": "--delimiter",
    "encoding": "--encoding",
    "execution": "--execution",
    "force": "--force",
    "jobs": "--jobs",
    "lines": "--lines",
    "period": "--period",
    "poll_s": "--poll",
    "prompt": 'an argument or on stdin: llmroute gen "..."',
    "repair": "llmroute costs check --repair",
    "requests": "--batch FILE",
    "reset": "--reset",
    "resume": "--resume",
    "since": "--since",
    "source": "--from",
    "template": "--template",
    "until": "--until",
    "within_s": "--within",
    "workspace": "--workspace",
    "zone": "--zone",
}
"""The flags that are no fields of a request; those are declared in `request.options`."""


def flag_of(option: str) -> str:
    """Return the flag, or the command, for an option of the library."""
    from llmroute.request.options import FIELDS

    return _FLAGS.get(option) or FIELDS[option].long_flag


def in_flags(text: str) -> str:
    """Return a text of the library with flags in place of the names of options."""
    spell = getattr(text, "spelled_by", None)
    return text if spell is None else str(spell(spelled))


def spelled(remedies: tuple[Remedy, ...]) -> str:
    """Return options as flags, with the values that would help."""
    return " ".join(map(_flag, remedies))


def _flag(remedy: Remedy) -> str:
    flag = flag_of(remedy.option)
    return flag if remedy.value is None or isinstance(remedy.value, bool) else f"{flag} {remedy.figure}"

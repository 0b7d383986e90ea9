"""How the command line spells what a text of the library names as an option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llmroute.text.option_names import Remedy

FLAGS: Final = {
    "budget_remaining": "--budget",
    "delimiter": "--delimiter",
    "effort": "--effort",
    "encoding": "--encoding",
    "force": "--force",
    "max_latency_ms": "--max-latency",
    "max_tokens": "--max-tokens",
    "min_quality": "--min-quality",
    "period": "--period",
    "prompt": 'an argument or on stdin: llmroute gen "..."',
    "repair": "llmroute costs check --repair",
    "resume": "--resume",
    "since": "--since",
    "source": "--from",
    "template": "--template",
    "timeout_s": "--timeout",
    "until": "--until",
    "upgrade": "--no-upgrade",
}


def in_flags(text: str) -> str:
    """Return a text of the library as the command line says it: flags where it names options."""
    said = getattr(text, "said", None)
    return text if said is None else str(said(spelled))


def spelled(remedies: tuple[Remedy, ...]) -> str:
    """Return options as flags, with the values that would help."""
    return " ".join(map(_flag, remedies))


def _flag(remedy: Remedy) -> str:
    flag = FLAGS[remedy.option]
    return flag if remedy.value is None or isinstance(remedy.value, bool) else f"{flag} {remedy.figure}"

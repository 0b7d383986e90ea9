"""What the flow of a request asks of its driver: a driver performs each and sends back what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.types import HTTPRequest, LLMResponse


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; answered with the driver's exchange once the head of the reply is there."""

    request: HTTPRequest
    connect_s: float
    answer_s: float


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the open exchange; answered with bytes, empty at the end."""

    within_s: float


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of the open exchange; a driver that is left does so by itself."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sleep so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Blocking:
    """Do what may block: the disk, the start of the embedded engine; answered with what the call returns."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a piece of a streamed answer to the caller."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """Hand the whole answer to the caller; it is settled in the ledger when the caller comes back."""

    response: LLMResponse


Operation = Open | Read | Close | Sleep | Blocking | Emit | Done

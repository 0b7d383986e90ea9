"""What the local server has: asked over loopback when a plan comes to it, since its models come and go."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from llmroute.after_fork import start_anew_in_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.providers import Provider
    from llmroute.transport.loop_sender import AnySender

LOCAL_SERVER = "ollama"
# It answers from memory; one that takes longer is not up.
PROBE_TIMEOUT_S = 0.5
# How long an answer holds: models come and go, but not from one request of a server to the next.
FRESH_S = 5.0
START_LOCAL_SERVER = "start it with: ollama serve"
NOT_RUNNING = f"ollama: it is not running ({START_LOCAL_SERVER})"


class Listed(NamedTuple):
    """What the server said: None where it did not answer.  `elsewhere` are models that it passes on to another machine.

    `at_s` is the monotonic time at which it was asked.
    """

    pulled: frozenset[str] | None
    elsewhere: frozenset[str]
    at_s: float


class LocalModels:
    """The models that Ollama has pulled; its answer holds for a while.  Safe to share between threads."""

    def __init__(
        self,
        connect: Callable[[], Provider],
        sender: Callable[[], AnySender],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._sender = sender
        self._monotonic = monotonic
        self._listed: Listed | None = None
        self._asking = threading.Lock()
        self._limit = threading.local()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._asking = threading.Lock()

    @contextmanager
    def asked_within(self, seconds: float) -> Iterator[None]:
        """Let this thread wait no longer for the server than the time that a request has."""
        self._limit.seconds = seconds
        try:
            yield
        finally:
            del self._limit.seconds

    def on_this_machine(self) -> bool:
        """Whether the server's address is this machine's."""
        return self._connect().local

    def is_up(self) -> bool:
        """Whether the server answers."""
        return self._known().pulled is not None

    def why_unusable(self, api_name: str) -> str | None:
        """Say why a model of Ollama's cannot be called now; None when it can."""
        pulled = self._known().pulled
        if pulled is None:
            return NOT_RUNNING
        tag = api_name if ":" in api_name else f"{api_name}:latest"
        return None if tag in pulled else f"it is not pulled (llmroute models pull ollama/{api_name})"

    def names(self) -> list[str]:
        """Return the models that are pulled, by the names that people give them; none while the server is not up."""
        return sorted(name.removesuffix(":latest") for name in self._known().pulled or () if ":" in name)

    def runs_here(self, api_name: str) -> bool:
        """Whether a call to a model of Ollama's stays on this machine, as far as its server tells."""
        return self.on_this_machine() and api_name not in self._known().elsewhere

    def _known(self) -> Listed:
        """Return what the server said last, asking it again when that is old; one thread asks for all."""
        listed = self._listed
        if listed is not None and self._monotonic() - listed.at_s < FRESH_S:
            return listed
        # With an old answer at hand no second thread waits for the new one.
        if not self._asking.acquire(blocking=listed is None):
            assert listed is not None
            return listed
        try:
            if self._listed is listed or self._listed is None:
                self._listed = self._ask()
            return self._listed
        finally:
            self._asking.release()

    def _ask(self) -> Listed:
        within_s = min(2 * PROBE_TIMEOUT_S, getattr(self._limit, "seconds", 2 * PROBE_TIMEOUT_S))
        # Silence in less than the usual time is no answer to others.
        nothing = Listed(None, frozenset(), self._monotonic() if within_s == 2 * PROBE_TIMEOUT_S else -FRESH_S)
        try:
            provider = self._connect()
            until_s = self._monotonic() + within_s
            exchange = self._sender().open(provider.render_models(), connect_s=within_s / 2, answer_s=within_s / 2)
            try:
                body = b"".join(iter(lambda: exchange.read(max(until_s - self._monotonic(), 0.001)), b""))
            finally:
                exchange.close()
            if exchange.status != 200:  # noqa: PLR2004
                return nothing
            models = provider.parse_models(body).models
        except Exception:  # noqa: BLE001 (a mock of the caller's may raise anything for a question it did not expect)
            return nothing
        names = {model.api_name for model in models}
        # What it passes on to another machine may be called as one likes.
        elsewhere = frozenset(
            name for model in models if model.local is False for name in (model.api_name, *model.aliases)
        )
        return Listed(
            frozenset(names | {f"{name}:latest" for name in names if ":" not in name}), elsewhere, self._monotonic()
        )

"""The models of the local server, queried over loopback when a plan reaches them, because they change at any time."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from llmroute.after_fork import start_anew_in_children
from llmroute.planning.local.model_cache import KEPT_UNSEEN_S
from llmroute.registry.aliases import unlisted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from llmroute.planning.local.model_cache import LocalModelCache
    from llmroute.providers import ListedModel, Provider
    from llmroute.registry import ModelRegistry
    from llmroute.transport.exchange import BlockingExchange
    from llmroute.transport.loop_sender import AnySender
    from llmroute.types import HTTPRequest, ModelConfig

LOCAL_SERVER = "ollama"
# A server on this machine accepts at once.  It answers from memory, but a machine that runs a model may be busy.
CONNECT_TIMEOUT_S = 0.5
PROBE_TIMEOUT_S = 2.5
# How long an answer holds: models come and go, but not from one request of a server to the next.
FRESH_S = 5.0
MAX_LISTING_S = 2.0
"""The longest total time to learn the limits of many models at once."""
START_LOCAL_SERVER = "start it with: ollama serve"
NOT_RUNNING = f"ollama: not running ({START_LOCAL_SERVER})"


class PulledModels(NamedTuple):
    """The server's list of models, None where it did not answer.

    `elsewhere` are models that it forwards to another machine.

    `digests` are those of the models that are pulled, by their whole names.
    `at_s` is the monotonic time of the request.
    """

    pulled: frozenset[str] | None
    elsewhere: frozenset[str]
    at_s: float
    digests: Mapping[str, str | None]


class LocalModels:
    """The models that Ollama has pulled; its answer holds for a while.  Safe to share between threads."""

    def __init__(
        self,
        connect: Callable[[], Provider],
        sender: Callable[[], AnySender],
        shown: LocalModelCache,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._sender = sender
        self._shown = shown
        self._monotonic = monotonic
        # After a request that was not answered in time, or many requests, no other model is queried for a while.
        self._silent_until_s = float("-inf")
        self._listing_s = 0.0
        self._listed: PulledModels | None = None
        self._listing = threading.Lock()
        self._limit = threading.local()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._listing = threading.Lock()

    @contextmanager
    def listed_within(self, seconds: float) -> Iterator[None]:
        """Limit the waits of this thread for the server to the time that a request has."""
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
        """Return why a model of Ollama cannot be called now, None if it can."""
        pulled = self._known().pulled
        if pulled is None:
            return NOT_RUNNING
        return None if _tag(api_name) in pulled else f"not pulled (llmroute models pull ollama/{api_name})"

    def names(self) -> list[str]:
        """Return the models that are pulled, by the names that people give them; none while the server is not up."""
        return sorted(name.removesuffix(":latest") for name in self._known().pulled or () if ":" in name)

    def has(self, api_name: str) -> bool:
        """Whether a model is pulled, by the server's list."""
        return _tag(api_name) in (self._known().pulled or ())

    def limits(self, api_name: str) -> ListedModel | None:
        """Return the limits of a model that is pulled, asking the server when they are not kept; None where unknown."""
        if not self.has(api_name):
            return None
        if (kept := self.kept_limits(api_name)) is not None:
            return kept
        if self._monotonic() < self._silent_until_s:
            return None
        started_s = self._monotonic()
        try:
            found = self._fetch_limits(api_name)
        except Exception:  # noqa: BLE001 (as for the list)
            self._silent_until_s = self._monotonic() + FRESH_S
            return None
        self._listing_s += self._monotonic() - started_s
        if self._listing_s > MAX_LISTING_S:
            self._listing_s, self._silent_until_s = 0.0, self._monotonic() + FRESH_S
        self.keep_limits(api_name, found)
        return found

    def kept_limits(self, api_name: str) -> ListedModel | None:
        """Return the stored limits of a model; None where there are none."""
        return self._shown.find(_tag(api_name), self._digest(api_name))

    def keep_limits(self, api_name: str, found: ListedModel) -> None:
        """Store the limits of a model."""
        self._shown.keep(_tag(api_name), self._digest(api_name), found)

    def keep_window(self, api_name: str, window: int) -> None:
        """Store the window that a model is loaded with: for a smaller one, the server would load it again."""
        self._shown.keep_window(_tag(api_name), window)

    def runs_here(self, api_name: str) -> bool:
        """Whether a call to an Ollama model stays on this machine, by its server's list."""
        return self.on_this_machine() and api_name not in self._known().elsewhere

    def _digest(self, api_name: str) -> str | None:
        """Return a model's digest in the last list, None from servers that are too old to report one."""
        listed = self._listed
        if listed is None or self._monotonic() - listed.at_s > KEPT_UNSEEN_S:
            return None
        return listed.digests.get(_tag(api_name))

    def _fetch_limits(self, api_name: str) -> ListedModel:
        provider = self._connect()
        request = provider.render_show(unlisted(LOCAL_SERVER, api_name, local=True))
        assert request is not None
        exchange, body = self._answer_to(request, self._within_s())
        return provider.parse_show(body, exchange.status, exchange.headers)

    def _within_s(self) -> float:
        request_s: float = getattr(self._limit, "seconds", PROBE_TIMEOUT_S)
        return min(PROBE_TIMEOUT_S, request_s)

    def _answer_to(self, request: HTTPRequest, within_s: float) -> tuple[BlockingExchange, bytes]:
        until_s = self._monotonic() + within_s
        connect_s = min(CONNECT_TIMEOUT_S, within_s / 2)
        with self._sender().open(request, connect_s=connect_s, answer_s=within_s - connect_s) as exchange:
            return exchange, exchange.read_all(lambda: max(until_s - self._monotonic(), 0.001))

    def _known(self) -> PulledModels:
        """Return the last list, requested again when it is old; one thread requests it for all."""
        listed = self._listed
        if listed is not None and self._monotonic() - listed.at_s < FRESH_S:
            return listed
        # With an old answer at hand no second thread waits for the new one.
        if not self._listing.acquire(blocking=listed is None):
            assert listed is not None
            return listed
        try:
            if self._listed is listed or self._listed is None:
                self._listed = self._list()
            return self._listed
        finally:
            self._listing.release()

    def _list(self) -> PulledModels:
        within_s = self._within_s()
        # Silence in less than the usual time is no answer to others.
        sent_at_s = self._monotonic() if within_s == PROBE_TIMEOUT_S else -FRESH_S
        nothing = PulledModels(None, frozenset(), sent_at_s, {})
        try:
            provider = self._connect()
            exchange, body = self._answer_to(provider.render_models(), within_s)
            if exchange.status != 200:  # noqa: PLR2004
                return nothing
            models = provider.parse_models(body).models
        except Exception:  # noqa: BLE001 (a mock of the caller's may raise anything for a question it did not expect)
            return nothing
        names = {model.api_name for model in models}
        # Models that it forwards to another machine may have any name.
        elsewhere = frozenset(
            name for model in models if model.local is False for name in (model.api_name, *model.aliases)
        )
        return PulledModels(
            frozenset(names | set(map(_tag, names))),
            elsewhere,
            self._monotonic(),
            {_tag(model.api_name): model.digest for model in models},
        )


def unlisted_here(registry: ModelRegistry, here: LocalModels) -> list[ModelConfig]:
    """Return the pulled models that the catalogue does not list; their limits come from the server."""
    known = map(registry.resolve, registry.list_models(LOCAL_SERVER))
    listed = {name for model in known for name in (model.id, model.api_name)}
    names = [name for name in here.names() if name not in listed and f"{name}:latest" not in listed]
    return [registry.get_model_config(LOCAL_SERVER, name) for name in names]


def _tag(api_name: str) -> str:
    return api_name if ":" in api_name else f"{api_name}:latest"

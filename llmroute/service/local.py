"""What the local server has: asked over loopback when a plan may need it, since its models come and go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.providers import Provider
    from llmroute.transport import Sender

LOCAL_SERVER = "ollama"
# It answers from memory; one that takes longer is not up.
PROBE_TIMEOUT_S = 0.5
START_LOCAL_SERVER = "start it with: ollama serve"
NOT_RUNNING = f"ollama: it is not running ({START_LOCAL_SERVER})"


class LocalModels:
    """The models that Ollama has pulled, asked for once."""

    def __init__(self, connect: Callable[[], Provider], sender: Callable[[], Sender]) -> None:
        self._connect = connect
        self._sender = sender
        self._asked = False
        self._pulled: frozenset[str] | None = None
        self._elsewhere: frozenset[str] = frozenset()

    def on_this_machine(self) -> bool:
        """Whether the server's address is this machine's."""
        return self._connect().local

    def is_up(self) -> bool:
        """Whether the server answers."""
        if not self._asked:
            self._asked = True
            self._pulled = self._ask()
        return self._pulled is not None

    def why_unusable(self, api_name: str) -> str | None:
        """Say why a model of Ollama's cannot be called now; None when it can."""
        if not self.is_up():
            return NOT_RUNNING
        assert self._pulled is not None
        tag = api_name if ":" in api_name else f"{api_name}:latest"
        return None if tag in self._pulled else f"it is not pulled (llmroute models pull ollama/{api_name})"

    def names(self) -> list[str]:
        """Return the models that are pulled, by the names that people give them; none while the server is not up."""
        if not self.is_up():
            return []
        assert self._pulled is not None
        return sorted(name.removesuffix(":latest") for name in self._pulled if ":" in name)

    def runs_here(self, api_name: str) -> bool:
        """Whether a call to a model of Ollama's stays on this machine, as far as its server tells."""
        if not self.on_this_machine():
            return False
        self.is_up()
        return api_name not in self._elsewhere

    def _ask(self) -> frozenset[str] | None:
        try:
            provider = self._connect()
            until = time.monotonic() + 2 * PROBE_TIMEOUT_S
            exchange = self._sender().open(
                provider.render_models(), connect_s=PROBE_TIMEOUT_S, answer_s=PROBE_TIMEOUT_S
            )
            try:
                body = b"".join(iter(lambda: exchange.read(max(until - time.monotonic(), 0.001)), b""))
            finally:
                exchange.close()
            if exchange.status != 200:  # noqa: PLR2004
                return None
            models = provider.parse_models(body).models
        except LLMRouteError:
            return None
        names = {model.api_name for model in models}
        # What it passes on to another machine may be called as one likes.
        self._elsewhere = frozenset(
            name for model in models if model.local is False for name in (model.api_name, *model.aliases)
        )
        return frozenset(names | {f"{name}:latest" for name in names if ":" not in name})

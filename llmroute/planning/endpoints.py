"""Provider endpoints of a configuration: availability, connections and key fingerprints."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.providers import ENGINE, PROVIDERS, Endpoint, connect

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.config.provider_settings import ProviderSettings
    from llmroute.planning.local.engine import EngineFiles
    from llmroute.providers import Provider
    from llmroute.text.redaction import Redaction


class Endpoints:
    """The providers of one configuration.  Thread-safe."""

    def __init__(self, config: Config) -> None:
        """Store the configuration; providers are imported on first use."""
        self._config = config
        self._providers: dict[str, Provider] = {}
        self._fingerprints: dict[str, str] = {}
        self._lock = threading.RLock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.RLock()

    def why_unusable(self, provider: str) -> str | None:
        """Return why a provider cannot be called, None if it can.  Sends no request."""
        here = self._config.providers[provider]
        if here.problem:
            return f"{provider}: {here.problem}"
        row = PROVIDERS[provider]
        if row.needs_key and not here.api_key:
            return f"{provider}: no API key (set {here.key_variable})"
        if provider == ENGINE:
            files = self._engine_files()
            problem = files.why_unavailable()
            if problem is None or not files.lack_packages():
                return problem
            from llmroute.planning.local.engine_install import how_to_get

            return f"{problem} ({how_to_get()})"
        return None

    def settings(self, provider: str) -> ProviderSettings:
        """Return the settings of a provider."""
        return self._config.providers[provider]

    def connected(self, name: str) -> Provider | None:
        """Return a provider that is already connected, else None."""
        return self._providers.get(name)

    def connect(self, name: str) -> Provider:
        """Return a provider, importing its module and starting the embedded engine when first needed.

        Raises:
            EngineUnavailableError: the engine or its weights are not installed.
        """
        with self._lock:
            if name not in self._providers:
                self._providers[name] = connect(name, self._endpoint(name))
            return self._providers[name]

    def _endpoint(self, name: str) -> Endpoint:
        if name == ENGINE:
            engine = self._engine_files().engine()
            return Endpoint(engine.key, engine.base_url, redaction=self.redaction)
        here = self._config.providers[name]
        return Endpoint(here.api_key, here.base_url, here.organization, self.redaction)

    def _engine_files(self) -> EngineFiles:
        from llmroute.planning.local.engine import EngineFiles

        return EngineFiles(self._config.local_model, self._config.config_dir)

    def admin_endpoint(self, provider: str) -> Endpoint:
        """Return where a provider's cost reports are read, with the admin key in place of the key of calls."""
        here = self._config.providers[provider]
        return Endpoint(api_key=here.admin_key, base_url=here.base_url, redaction=self.redaction)

    def has_own_address(self, provider: str) -> bool:
        """Return whether a provider is called at its own address, not at that of a gateway or another server."""
        return self._config.providers[provider].base_url is None

    @cached_property
    def redaction(self) -> Redaction:
        """The redaction of every key of the configuration and every token in a base URL."""
        return self._config.redaction()

    def fingerprint(self, provider: str) -> str:
        """Return a digest of the key and base URL of a provider."""
        if provider not in self._fingerprints:
            from hashlib import sha256

            here = self._config.providers[provider]
            self._fingerprints[provider] = sha256(f"{here.api_key}\n{here.base_url}".encode()).hexdigest()[:16]
        return self._fingerprints[provider]

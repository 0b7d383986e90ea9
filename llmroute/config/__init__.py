"""The configuration of a service, as one frozen Config."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from llmroute.config.provider_settings import ProviderSettings, checked_keys
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger_location import LedgerLocation, ServerAddress, is_server, require_path, server_location
from llmroute.text.redaction import Redaction
from llmroute.types import DEFAULT_PREFERENCE, WARN_AT
from llmroute.types.values import Value

FILE: Final = "config.toml"
"""The name of the configuration file in the config directory."""
BUDGET_PERIODS: Final = ("day", "week", "month", "total")


class Timeouts(NamedTuple):
    """Timeouts in seconds; `total_s` limits a request with all its attempts and waits."""

    total_s: float = 300.0
    connect_s: float = 5.0
    first_token_s: float = 60.0
    slow_first_token_s: float = 300.0
    stall_s: float = 60.0
    ledger_s: float = LOCK_WAIT_S

    def raised(self, seconds: float) -> Self:
        """Return timeouts that wait at least so long for a request and for its first token."""
        return self._replace(total_s=max(self.total_s, seconds), first_token_s=max(self.first_token_s, seconds))


class Limit(NamedTuple):
    """A budget from [budgets]: `period` is day, week, month or total; `workspace` is empty for all calls.

    Its windows are those of the time zone `zone`, None for the user's own.
    """

    period: str
    workspace: str
    cap_picousd: int
    zone: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Config(Value):
    """All settings; None means not set.

    `models` has the user's validated catalogue rows by `provider/id`.  `notice` describes ignored settings of the .env
    files.
    """

    config_dir: Path
    ledger_path: Path
    providers: dict[str, ProviderSettings]
    default_provider: str | None = None
    strategy: str = "balanced"
    enable_fallback: bool = True
    max_attempts: int | None = None
    prefer_local: bool = False
    max_latency_ms: int | None = None
    workspace: str | None = None
    upgrade: bool = True
    chains: dict[str, list[str]] = field(default_factory=dict)
    balance: dict[str, float] = field(default_factory=dict)
    default_preference: float = DEFAULT_PREFERENCE
    local_model: Path | None = None
    timeouts: Timeouts = Timeouts()  # noqa: RUF009 (a tuple)
    models: dict[str, Any] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    warn_at: float = WARN_AT
    ledger_server: ServerAddress | None = None
    notice: str | None = None

    @property
    def ledger(self) -> LedgerLocation:
        """Where the ledger is."""
        return LedgerLocation(self.ledger_path, self.ledger_server)

    def redaction(self, other_keys: Iterable[str] = ()) -> Redaction:
        """Return the redaction of every key, of other ones, and of every token in a base URL."""
        settings = self.providers.values()
        keys = (key for each in settings for key in (each.api_key, each.admin_key))
        return Redaction.of((*keys, *other_keys), (each.base_url for each in settings))

    def with_ledger(self, text: str | os.PathLike[str]) -> "Config":
        """Return the configuration with another ledger: a file, or the URL of a server.

        Raises:
            ConfigError: the URL is invalid, or the driver is not installed.
        """
        named = os.fspath(text)
        if is_server(named):
            location = server_location(named, os.environ.get("LLMROUTE_SCHEMA"), self.config_dir, "ledger")
        else:
            require_path(named, "ledger")
            location = LedgerLocation(Path(named))
        return replace(self, ledger_path=location.path, ledger_server=location.server)

    def with_api_keys(self, keys: Mapping[str, str]) -> "Config":
        """Return the configuration with keys by provider, such as `{"openai": "sk-..."}`, which override other sources.

        A key is not used where it would be sent over plain http to another machine, or to a base URL from the .env
        file of the working directory; a request to that provider then fails with the reason.

        Raises:
            ConfigError: a provider is unknown or a key is invalid; the message does not contain the key.
        """
        providers = dict(self.providers)
        for name, key in checked_keys(keys, tuple(providers)):
            providers[name] = providers[name].with_key(key)
        return replace(self, providers=providers)

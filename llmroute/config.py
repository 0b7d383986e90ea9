"""Settings: flag > environment > .env > config.toml > default, joined into one frozen Config.

The only reader of the environment and of the home directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llmroute import config_file
from llmroute.addresses import is_loopback
from llmroute.errors import ConfigError
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

STRATEGIES: Final = (
    "balanced",
    "cost_optimized",
    "latency_optimized",
    "quality_optimized",
    "local_first",
    "capability_match",
)
BUDGET_PERIODS: Final = ("day", "week", "month", "total")
OLLAMA_PORT: Final = 11434
ENVIRONMENT: Final = "the environment"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was written, and the place that it was written in."""

    name: str
    value: str
    place: str
    from_working_directory: bool = False


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Where to call a provider and with what.  `problem` says why it must not be called, in words for a person."""

    key_variable: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    organization: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds.  `total_s` bounds the whole request, attempts and waits together."""

    total_s: float = 300.0
    connect_s: float = 5.0
    first_token_s: float = 60.0
    slow_first_token_s: float = 300.0
    stall_s: float = 60.0
    ledger_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap from [budgets]: `period` is day, week, month or total; `workspace` is empty for all calls."""

    period: str
    workspace: str
    cap_picousd: int


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting there is; None means that nobody set it."""

    config_dir: Path
    ledger_path: Path
    providers: dict[str, ProviderSettings]
    default_provider: str | None = None
    strategy: str = "balanced"
    enable_fallback: bool = True
    prefer_local: bool = False
    max_latency_ms: int | None = None
    workspace: str | None = None
    local_model: Path | None = None
    timeouts: Timeouts = Timeouts()
    limits: tuple[Limit, ...] = ()


def load(
    providers: Iterable[str],
    *,
    environ: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Config:
    """Read every place that settings live in.

    Raises:
        ConfigError: a value that does not parse or does not fit, with its name, its place and what was expected.
    """
    environ = os.environ if environ is None else environ
    config_dir = _config_dir(environ)
    names = tuple(providers)
    settings = _Settings(environ, config_dir, working_directory or Path.cwd(), names)
    config_path = config_dir / "config.toml"
    stored = config_file.read(config_path)
    strategy = settings.choice("LLM_ROUTING_STRATEGY", STRATEGIES)
    default_provider = settings.choice("LLM_DEFAULT_PROVIDER", names)
    _check_stored_names(stored, names, config_path)
    return Config(
        config_dir=config_dir,
        ledger_path=Path(environ.get("LLMROUTE_LEDGER") or config_dir / "ledger.db").expanduser(),
        providers={name: settings.provider(name, stored.get("providers", {}).get(name, {})) for name in names},
        default_provider=_first(default_provider, stored.get("default_provider")),
        strategy=_first(strategy, stored.get("strategy"), "balanced"),
        enable_fallback=_first(settings.boolean("LLM_ENABLE_FALLBACK"), stored.get("enable_fallback", True)),
        prefer_local=_first(settings.boolean("LLM_PREFER_LOCAL"), stored.get("prefer_local", False)),
        max_latency_ms=_first(settings.milliseconds("LLM_MAX_LATENCY_MS"), stored.get("max_latency_ms")),
        workspace=_first(settings.text("LLM_WORKSPACE"), stored.get("workspace")),
        local_model=_path(environ.get("LLMROUTE_LOCAL_MODEL")),
        timeouts=Timeouts(**stored.get("timeouts", {})),
        limits=tuple(_limits(stored.get("budgets", {}))),
    )


def _limits(stored: dict[str, Any]) -> Iterator[Limit]:
    tables = {"": stored, **stored.get("workspaces", {})}
    for workspace, table in tables.items():
        for period in BUDGET_PERIODS:
            if (usd := table.get(period)) is not None:
                yield Limit(period, workspace, round(usd * PICO_PER_USD))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _config_dir(environ: Mapping[str, str]) -> Path:
    if own := environ.get("LLMROUTE_CONFIG_DIR"):
        return Path(own).expanduser()
    if xdg := environ.get("XDG_CONFIG_HOME"):
        return Path(xdg).expanduser() / "llmroute"
    return Path.home() / ".config" / "llmroute"


def _check_stored_names(stored: dict[str, Any], names: tuple[str, ...], path: Path) -> None:
    for key, value, allowed in (
        ("default_provider", stored.get("default_provider"), names),
        ("strategy", stored.get("strategy"), STRATEGIES),
        *(("providers", name, names) for name in stored.get("providers", {})),
    ):
        if value is not None and value not in allowed:
            raise ConfigError(f"{key}: {value!r} in {path} is none of {', '.join(allowed)}")


class _Settings:
    """Looks a name up in the environment, then in the two .env files."""

    def __init__(
        self, environ: Mapping[str, str], config_dir: Path, working_directory: Path, providers: tuple[str, ...]
    ) -> None:
        allowed = set(_VARIABLES) | {
            f"{name.upper()}_{what}" for name in providers for what in ("API_KEY", "BASE_URL", "ORGANIZATION")
        }
        self._sources: list[tuple[Mapping[str, str | None], str, bool]] = [(environ, ENVIRONMENT, False)]
        for folder, untrusted in ((working_directory, True), (config_dir, False)):
            path = folder / ".env"
            if path.is_file():
                from dotenv import dotenv_values

                values = dotenv_values(path, interpolate=False)
                self._sources.append(({k: v for k, v in values.items() if k in allowed}, str(path), untrusted))

    def find(self, name: str) -> Setting | None:
        """Return the setting from the first place that has it; blank is not set."""
        for values, place, untrusted in self._sources:
            if value := (values.get(name) or "").strip():
                return Setting(name, value, place, untrusted)
        return None

    def text(self, name: str) -> str | None:
        found = self.find(name)
        return found.value if found else None

    def _parsed(self, name: str, expected: str, parse: Callable[[str], T | None]) -> T | None:
        found = self.find(name)
        if found is None:
            return None
        parsed = parse(found.value)
        if parsed is None:
            raise ConfigError(f"{name}: {found.value!r} in {found.place} is not {expected}")
        return parsed

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        expected = f"one of {', '.join(allowed)}"
        return self._parsed(name, expected, lambda text: text.lower() if text.lower() in allowed else None)

    def boolean(self, name: str) -> bool | None:
        return self._parsed(name, "true or false", lambda text: _BOOLEANS.get(text.lower()))

    def milliseconds(self, name: str) -> int | None:
        def parse(text: str) -> int | None:
            return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None

        return self._parsed(name, "a whole number of milliseconds above 0", parse)

    def provider(self, name: str, stored: dict[str, str]) -> ProviderSettings:
        """Join what is known of one provider; what must not be called says so in `problem`."""
        variable = f"{name.upper()}_API_KEY"
        key = self.find(variable)
        url = self.find(f"{name.upper()}_BASE_URL")
        if url is None and name == "ollama" and (host := self.find("OLLAMA_HOST")):
            url = Setting(host.name, _ollama_url(host.value), host.place, host.from_working_directory)
        if url is not None:
            _check_url(url)
        api_key = key.value if key else None
        base_url = url.value if url else stored.get("base_url")
        problem = None
        if base_url is not None and not is_loopback(base_url):
            if key and url and url.from_working_directory and key.place != url.place:
                problem = (
                    f"{url.name} in {url.place} would receive a key from elsewhere"
                    f" (set {url.name} in the environment if you trust it)"
                )
            elif key and base_url.lower().startswith("http:"):
                problem = (
                    f"{url.name if url else 'base_url'}: a key goes over plain http to this machine only (use https)"
                )
        organization = self.text(f"{name.upper()}_ORGANIZATION") or stored.get("organization")
        return ProviderSettings(variable, None if problem else api_key, base_url, organization, problem)


_VARIABLES: Final = (
    "LLM_DEFAULT_PROVIDER",
    "LLM_ROUTING_STRATEGY",
    "LLM_ENABLE_FALLBACK",
    "LLM_PREFER_LOCAL",
    "LLM_MAX_LATENCY_MS",
    "LLM_WORKSPACE",
    "OLLAMA_HOST",
)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _check_url(setting: Setting) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(setting.value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"{setting.name}: {setting.value!r} in {setting.place} is not an address like https://host/v1"
        )


def _ollama_url(host: str) -> str:
    """Read OLLAMA_HOST as Ollama does: scheme and port may be missing; "any address" means this machine."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    name, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or not port.isdigit():
        name, port = rest.rstrip("/"), "443" if scheme == "https" else str(OLLAMA_PORT)
    return f"{scheme}://{'127.0.0.1' if name in ('', '0.0.0.0', '[::]') else name}:{port}"  # noqa: S104 (not a bind)

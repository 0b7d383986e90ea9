"""Settings: flag > environment > .env > config.toml > default, joined into one frozen Config.

The only reader of the environment and of the home directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from llmroute import config_file
from llmroute.addresses import is_base_url, is_loopback
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
OLLAMA_PORT: Final = "11434"
ENVIRONMENT: Final = "the environment"


class Setting(NamedTuple):
    """A value as it was written, and the place that it was written in."""

    name: str
    value: str
    place: str
    from_working_directory: bool = False

    def __repr__(self) -> str:
        """Tell everything but the value, which may be a key."""
        return f"Setting({self.name!r}, {self.place!r})"


class ProviderSettings(NamedTuple):
    """Where to call a provider and with what.  `problem` says why it must not be called, in words for a person."""

    key_variable: str
    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    problem: str | None = None

    def __repr__(self) -> str:
        """Tell everything but the key."""
        return f"ProviderSettings({self.key_variable!r}, base_url={self.base_url!r}, problem={self.problem!r})"


class Timeouts(NamedTuple):
    """Seconds.  `total_s` bounds the whole request, attempts and waits together."""

    total_s: float = 300.0
    connect_s: float = 5.0
    first_token_s: float = 60.0
    slow_first_token_s: float = 300.0
    stall_s: float = 60.0
    ledger_s: float = 10.0


class Limit(NamedTuple):
    """A cap from [budgets]: `period` is day, week, month or total; `workspace` is empty for all calls."""

    period: str
    workspace: str
    cap_picousd: int


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting there is; None means that nobody set it.

    `models` are the user's own rows by `provider/id`, checked.
    """

    config_dir: Path
    ledger_path: Path
    providers: dict[str, ProviderSettings]
    default_provider: str | None = None
    strategy: str = "balanced"
    enable_fallback: bool = True
    prefer_local: bool = False
    max_latency_ms: int | None = None
    workspace: str | None = None
    upgrade: bool = True
    chains: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    local_model: Path | None = None
    timeouts: Timeouts = Timeouts()  # noqa: RUF009 (a tuple)
    models: dict[str, Any] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()


def load(
    providers: Iterable[str],
    *,
    check_models: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    environ: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Config:
    """Read every place that settings live in.

    `check_models` returns the rows under `models` as plain data, or raises what is wrong with them; it is called when
    config.toml has changed.

    Raises:
        ConfigError: a value that does not parse or does not fit, with its name, its place and what was expected.
    """
    environ = os.environ if environ is None else environ
    config_dir = _config_dir(environ)
    names = tuple(providers)
    settings = _Settings(environ, config_dir, working_directory or _working_directory(), names)
    config_path = config_dir / "config.toml"
    stored = config_file.read(config_path, check_models)
    strategy = settings.choice("LLM_ROUTING_STRATEGY", STRATEGIES)
    default_provider = settings.choice("LLM_DEFAULT_PROVIDER", names)
    _check_stored_names(stored, names, config_path)
    return Config(
        config_dir=config_dir,
        ledger_path=_path(environ.get("LLMROUTE_LEDGER")) or config_dir / "ledger.db",
        providers={name: settings.provider(name, stored.get("providers", {}).get(name, {})) for name in names},
        default_provider=_first(default_provider, stored.get("default_provider")),
        strategy=_first(strategy, stored.get("strategy"), "balanced"),
        enable_fallback=_first(settings.boolean("LLM_ENABLE_FALLBACK"), stored.get("enable_fallback", True)),
        prefer_local=_first(settings.boolean("LLM_PREFER_LOCAL"), stored.get("prefer_local", False)),
        max_latency_ms=_first(settings.milliseconds("LLM_MAX_LATENCY_MS"), stored.get("max_latency_ms")),
        workspace=_first(settings.text("LLM_WORKSPACE"), stored.get("workspace")),
        local_model=_path(environ.get("LLMROUTE_LOCAL_MODEL")),
        upgrade=stored.get("upgrade", True),
        chains=stored.get("chains", {}),
        weights=stored.get("weights", {}),
        timeouts=Timeouts(**stored.get("timeouts", {})),
        models=stored.get("models", {}),
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
    if not text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: {str(error).lower()}", hint="set LLMROUTE_CONFIG_DIR") from error


def _config_dir(environ: Mapping[str, str]) -> Path:
    if own := _path(environ.get("LLMROUTE_CONFIG_DIR")):
        return own
    # A relative path there is to be ignored: https://specifications.freedesktop.org/basedir-spec
    if (xdg := _path(environ.get("XDG_CONFIG_HOME"))) and xdg.is_absolute():
        return xdg / "llmroute"
    home = _path("~/.config/llmroute")
    assert home is not None
    return home


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        # It was removed under us.
        return None


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
        self, environ: Mapping[str, str], config_dir: Path, working_directory: Path | None, providers: tuple[str, ...]
    ) -> None:
        allowed = set(_VARIABLES) | {f"{name.upper()}_{what}" for name in providers for what in ("API_KEY", "BASE_URL")}
        self._sources: list[tuple[Mapping[str, str | None], str, bool]] = [(environ, ENVIRONMENT, False)]
        for folder, untrusted in ((working_directory, True), (config_dir, False)):
            values = _read_env(folder / ".env") if folder else {}
            if values:
                place = str(folder / ".env") if folder else ""
                self._sources.append(({k: v for k, v in values.items() if k in allowed}, place, untrusted))

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
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0 else None  # noqa: PLR2004

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
        if key is not None:
            _check_header(key)
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
        organization = self.find(f"{name.upper()}_ORGANIZATION")
        if organization is not None:
            _check_header(organization)
        named = organization.value if organization else stored.get("organization")
        return ProviderSettings(variable, None if problem else api_key, base_url, named, problem)


_VARIABLES: Final = (
    "LLM_DEFAULT_PROVIDER",
    "LLM_ROUTING_STRATEGY",
    "LLM_ENABLE_FALLBACK",
    "LLM_PREFER_LOCAL",
    "LLM_MAX_LATENCY_MS",
    "LLM_WORKSPACE",
    "OLLAMA_HOST",
    "OPENAI_ORGANIZATION",
)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _read_env(path: Path) -> Mapping[str, str | None]:
    """Return what a .env file sets; empty when there is none.  What is not UTF-8 in it is another program's affair."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    from io import StringIO

    from dotenv import dotenv_values

    return dotenv_values(stream=StringIO(text), interpolate=False)


def _check_header(setting: Setting) -> None:
    """Refuse what cannot be sent as a header, or would be sent as two; the value itself is never told."""
    if not (setting.value.isascii() and setting.value.isprintable()):
        raise ConfigError(
            f"{setting.name}: the value in {setting.place} is not one line of printable ASCII characters",
            hint="copy it again: it holds a line break or a character that no key has",
        )


def _check_url(setting: Setting) -> None:
    if not is_base_url(setting.value):
        # What stands before an @ may be a password.
        told = setting.value if "@" not in setting.value else "the value"
        raise ConfigError(f"{setting.name}: {told!r} in {setting.place} is not an address like https://host/v1")


def _ollama_url(host: str) -> str:
    """Read OLLAMA_HOST as Ollama does: scheme and port may be missing; "any address" means this machine."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    usual = {"http": "80", "https": "443"}.get(scheme, OLLAMA_PORT) if separator else OLLAMA_PORT
    address, slash, path = rest.partition("/")
    if address.startswith("["):
        name, _, port = address.partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = address.partition(":") if address.count(":") == 1 else (address, "", "")
    port = port if port.isdigit() else usual
    bare = name.strip("[]")
    bare = "127.0.0.1" if bare in ("", "0.0.0.0", "::") else bare  # noqa: S104 (not a bind)
    return f"{scheme}://{f'[{bare}]' if ':' in bare else bare}:{port}{slash}{path}".rstrip("/")

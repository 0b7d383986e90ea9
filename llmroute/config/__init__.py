"""Configuration: environment, .env files, config.toml and defaults, in this precedence, as one frozen Config."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from llmroute.config import file
from llmroute.config.env import Settings
from llmroute.config.provider_settings import ProviderSettings, is_header
from llmroute.errors import ConfigError
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger_location import LedgerLocation, ServerAddress, is_server, server_location
from llmroute.text.suggest import nearest
from llmroute.types import DEFAULT_PREFERENCE, PICO_PER_USD, STRATEGIES, WARN_AT
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

    def with_ledger(self, text: str | os.PathLike[str]) -> "Config":
        """Return the configuration with another ledger: a file, or the URL of a server.

        Raises:
            ConfigError: the URL is invalid, or the driver is not installed.
        """
        named = os.fspath(text)
        location = LedgerLocation(Path(named))
        if is_server(named):
            location = server_location(named, os.environ.get("LLMROUTE_SCHEMA"), self.config_dir, "ledger")
        return replace(self, ledger_path=location.path, ledger_server=location.server)

    def with_api_keys(self, keys: Mapping[str, str]) -> "Config":
        """Return the configuration with keys by provider, such as `{"openai": "sk-..."}`, which override other sources.

        A key is not used where it would be sent over plain http to another machine, or to a base URL from the .env
        file of the working directory; a request to that provider then fails with the reason.

        Raises:
            ConfigError: a provider is unknown or a key is invalid; the message does not contain the key.
        """
        providers = dict(self.providers)
        for name, key in _checked_keys(keys, tuple(providers)):
            providers[name] = providers[name].with_key(key)
        return replace(self, providers=providers)


def _checked_keys(keys: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield keys by provider; messages contain neither names nor keys, as the two may be swapped."""
    if not isinstance(keys, Mapping):
        raise ConfigError(f"api_keys: a {type(keys).__name__} is not a mapping", hint='pass {"openai": "sk-..."}')
    for name, key in keys.items():
        if name not in names:
            near = nearest(str(name).lower(), names)
            raise ConfigError(
                f"api_keys: a name is not one of {', '.join(names)}", hint=f"did you mean {near}?" if near else None
            )
        if not isinstance(key, str) or not key.strip():
            raise ConfigError(f"api_keys: the key of {name} is {'empty' if isinstance(key, str) else 'not text'}")
        if not is_header(key.strip()):
            raise ConfigError(
                f"api_keys: the key of {name} is not one line of printable ASCII characters",
                hint="copy it again: it has a line break or a character that keys do not have",
            )
        yield name, key.strip()


def load(
    providers: Iterable[str],
    *,
    check_models: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    environ: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Config:
    """Read the configuration.

    `check_models` validates the rows under `models` and returns them as plain data; it is called when config.toml has
    changed.

    Raises:
        ConfigError: a value is invalid; the message has its name, its source and what is expected.
    """
    environ = os.environ if environ is None else environ
    config_dir = directory(environ)
    names = tuple(providers)
    settings = variables(names, config_dir, environ, working_directory)
    config_path = config_dir / FILE
    stored = file.read(config_path, check_models)
    _check_stored_names(stored, names, config_path)
    ledger = _ledger(environ, stored.get("ledger"), config_dir, config_path)
    return Config(
        config_dir=config_dir,
        ledger_path=ledger.path,
        ledger_server=ledger.server,
        providers={name: settings.provider(name, stored.get("providers", {}).get(name, {})) for name in names},
        default_provider=_first(settings.choice("LLM_DEFAULT_PROVIDER", names), stored.get("default_provider")),
        strategy=_first(settings.choice("LLM_ROUTING_STRATEGY", STRATEGIES), stored.get("strategy"), "balanced"),
        enable_fallback=settings.fallback(stored.get("enable_fallback", True)),
        max_attempts=stored.get("max_attempts"),
        prefer_local=_first(settings.boolean("LLM_PREFER_LOCAL"), stored.get("prefer_local", False)),
        max_latency_ms=_first(settings.milliseconds("LLM_MAX_LATENCY_MS"), stored.get("max_latency_ms")),
        workspace=_first(settings.text("LLM_WORKSPACE"), stored.get("workspace")),
        local_model=_path(environ.get("LLMROUTE_LOCAL_MODEL")),
        upgrade=stored.get("upgrade", True),
        chains=stored.get("chains", {}),
        balance=stored.get("balance", {}),
        default_preference=stored.get("default_preference", DEFAULT_PREFERENCE),
        timeouts=Timeouts(**stored.get("timeouts", {})),
        models=stored.get("models", {}),
        limits=tuple(_limits(stored.get("budgets", {}))),
        warn_at=stored.get("budgets", {}).get("warn_at", WARN_AT),
        notice=settings.notice,
    )


def variables(
    providers: Iterable[str],
    config_dir: Path,
    environ: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Settings:
    """Read the environment and the .env files.

    Raises:
        ConfigError: a .env file cannot be read.
    """
    environ = os.environ if environ is None else environ
    return Settings(environ, config_dir, working_directory or _working_directory(), tuple(providers))


def _ledger(environ: Mapping[str, str], stored: str | None, config_dir: Path, config_path: Path) -> LedgerLocation:
    """Return where the ledger is: as the environment says, else as config.toml does.

    Raises:
        ConfigError: as `_ledger_path` and `server_location`.
    """
    named = environ.get("LLMROUTE_LEDGER")
    source, text = ("LLMROUTE_LEDGER", named) if named else (f"{config_path}: ledger", stored)
    if text and is_server(text):
        return server_location(text, environ.get("LLMROUTE_SCHEMA"), config_dir, source)
    return LedgerLocation(_ledger_path(text, source) or config_dir / "ledger.db")


def _ledger_path(text: str | None, source: str) -> Path | None:
    """Return the path of the ledger, which is a regular file or does not exist yet.

    Raises:
        ConfigError: it is another kind of file, such as a device or a pipe.
    """
    path = _path(text)
    if path is None:
        return None
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except NotADirectoryError:
        is_file = False
    except OSError:
        # The ledger creates the file, or reports why it cannot.
        return path
    if not is_file:
        raise ConfigError(f"{source}={path} is not a regular file", hint="set it to the path of a file")
    return path


def directory(environ: Mapping[str, str] | None = None) -> Path:
    """Return the config directory; it need not exist.

    Raises:
        ConfigError: the home directory is unknown.
    """
    environ = os.environ if environ is None else environ
    if own := _path(environ.get("LLMROUTE_CONFIG_DIR")):
        return own
    # Relative paths are ignored: https://specifications.freedesktop.org/basedir-spec
    if (xdg := _path(environ.get("XDG_CONFIG_HOME"))) and xdg.is_absolute():
        return xdg / "llmroute"
    home = _path("~/.config/llmroute")
    assert home is not None
    return home


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


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        # The directory was removed.
        return None


def _check_stored_names(stored: dict[str, Any], names: tuple[str, ...], path: Path) -> None:
    for key, value, allowed in (
        ("default_provider", stored.get("default_provider"), names),
        ("strategy", stored.get("strategy"), STRATEGIES),
        *(("providers", name, names) for name in stored.get("providers", {})),
    ):
        if value is not None and value not in allowed:
            near = nearest(str(value).lower(), allowed)
            raise ConfigError(
                f"{path}: {key} {value!r} is not one of {', '.join(allowed)}",
                hint=f"did you mean {near}?" if near else None,
            )

"""Settings: flag > environment > .env > config.toml > default, joined into one frozen Config.

The only reader of the environment and of the home directory.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmroute.config import file
from llmroute.config.env import ProviderSettings, Settings, is_header
from llmroute.errors import ConfigError
from llmroute.files import LOCK_WAIT_S
from llmroute.text.suggest import nearest
from llmroute.types import PICO_PER_USD, STRATEGIES
from llmroute.types.values import Value

FILE: Final = "config.toml"
"""The file of settings in the config directory."""
BUDGET_PERIODS: Final = ("day", "week", "month", "total")


class Timeouts(NamedTuple):
    """Seconds.  `total_s` bounds the whole request, attempts and waits together."""

    total_s: float = 300.0
    connect_s: float = 5.0
    first_token_s: float = 60.0
    slow_first_token_s: float = 300.0
    stall_s: float = 60.0
    ledger_s: float = LOCK_WAIT_S


class Limit(NamedTuple):
    """A cap from [budgets]: `period` is day, week, month or total; `workspace` is empty for all calls."""

    period: str
    workspace: str
    cap_picousd: int


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Config(Value):
    """Every setting there is; None means that nobody set it.

    `models` are the user's own rows by `provider/id`, checked.  `notice` says what of the .env files
    is ignored.
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
    weights: dict[str, float] = field(default_factory=dict)
    local_model: Path | None = None
    timeouts: Timeouts = Timeouts()  # noqa: RUF009 (a tuple)
    models: dict[str, Any] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    notice: str | None = None

    def with_api_keys(self, keys: Mapping[str, str]) -> "Config":
        """Return the configuration with keys by provider, such as `{"openai": "sk-..."}`, before all other places.

        As with the others, a key that its provider's address must not receive (plain http to another machine, or an
        address from the .env file of the working directory) is not used, and the provider says why when it is called.

        Raises:
            ConfigError: no such provider, or what cannot be a key; no value is ever told.
        """
        providers = dict(self.providers)
        for name, key in _checked_keys(keys, tuple(providers)):
            providers[name] = providers[name].with_key(key)
        return replace(self, providers=providers)


def _checked_keys(keys: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield keys by provider; a name is told no more than a key, for the two may have been mixed up."""
    if not isinstance(keys, Mapping):
        raise ConfigError(f"api_keys: a {type(keys).__name__} is no mapping", hint='{"openai": "sk-..."} is one')
    for name, key in keys.items():
        if name not in names:
            near = nearest(str(name).lower(), names)
            raise ConfigError(
                f"api_keys: a name in it is none of {', '.join(names)}", hint=f"did you mean {near}?" if near else None
            )
        if not isinstance(key, str) or not key.strip():
            raise ConfigError(f"api_keys: the key of {name} is {'empty' if isinstance(key, str) else 'no text'}")
        if not is_header(key.strip()):
            raise ConfigError(
                f"api_keys: the key of {name} is not one line of printable ASCII characters",
                hint="copy it again: it holds a line break or a character that no key has",
            )
        yield name, key.strip()


def load(
    providers: Iterable[str],
    *,
    check_models: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    environ: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Config:
    """Read every place that settings live in.

    `check_models` returns the rows under `models` as plain data or raises; it is called when config.toml has changed.

    Raises:
        ConfigError: a value that does not parse or does not fit, with its name, its place and what was expected.
    """
    environ = os.environ if environ is None else environ
    config_dir = directory(environ)
    names = tuple(providers)
    settings = Settings(environ, config_dir, working_directory or _working_directory(), names)
    config_path = config_dir / FILE
    stored = file.read(config_path, check_models)
    _check_stored_names(stored, names, config_path)
    return Config(
        config_dir=config_dir,
        ledger_path=_ledger_path(environ.get("LLMROUTE_LEDGER")) or config_dir / "ledger.db",
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
        weights=stored.get("weights", {}),
        timeouts=Timeouts(**stored.get("timeouts", {})),
        models=stored.get("models", {}),
        limits=tuple(_limits(stored.get("budgets", {}))),
        notice=settings.notice,
    )


def _ledger_path(text: str | None) -> Path | None:
    """Return the path of a ledger that is a file, or can become one: a device keeps nothing, and a pipe waits for ever.

    Raises:
        ConfigError: it can be neither.
    """
    path = _path(text)
    if path is None:
        return None
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except NotADirectoryError:
        is_file = False
    except OSError:
        # It may be made there; where it cannot, the ledger says so.
        return path
    if not is_file:
        raise ConfigError(f"LLMROUTE_LEDGER={path} is no regular file", hint="name a file, there or to be made")
    return path


def directory(environ: Mapping[str, str] | None = None) -> Path:
    """Return the config directory; it need not exist.

    Raises:
        ConfigError: there is no home directory to look in.
    """
    environ = os.environ if environ is None else environ
    if own := _path(environ.get("LLMROUTE_CONFIG_DIR")):
        return own
    # A relative path there is to be ignored: https://specifications.freedesktop.org/basedir-spec
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

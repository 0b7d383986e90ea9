"""Load the configuration: environment, .env files, config.toml and defaults, in this precedence."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmroute.config import BUDGET_PERIODS, FILE, Config, Limit, Timeouts, file
from llmroute.config.env import Settings
from llmroute.config.provider_variables import provider_settings
from llmroute.errors import ConfigError
from llmroute.ledger_location import LedgerLocation, is_server, require_path, server_location
from llmroute.text.suggest import nearest
from llmroute.types import DEFAULT_PREFERENCE, STRATEGIES, WARN_AT, as_picousd


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
    settings = variables(providers, config_dir, environ, working_directory)
    config_path = config_dir / FILE
    stored = file.read(config_path, check_models)
    _check_stored_names(stored, settings.providers, config_path)
    ledger = _ledger(environ, stored.get("ledger"), config_dir, config_path)
    return _config(settings, stored, config_dir, ledger, _path(environ.get("LLMROUTE_LOCAL_MODEL")))


def _config(
    settings: Settings, stored: dict[str, Any], config_dir: Path, ledger: LedgerLocation, local_model: Path | None
) -> Config:
    """Return the configuration: each setting from a variable, else from config.toml, else its default."""
    names, tables, budgets = settings.providers, stored.get("providers", {}), stored.get("budgets", {})
    return Config(
        config_dir=config_dir,
        ledger_path=ledger.path,
        ledger_server=ledger.server,
        providers={name: provider_settings(settings, name, tables.get(name, {})) for name in names},
        default_provider=_first(settings.choice("LLM_DEFAULT_PROVIDER", names), stored.get("default_provider")),
        strategy=_first(settings.choice("LLM_ROUTING_STRATEGY", STRATEGIES), stored.get("strategy"), "balanced"),
        enable_fallback=settings.fallback(stored.get("enable_fallback", True)),
        max_attempts=stored.get("max_attempts"),
        prefer_local=_first(settings.boolean("LLM_PREFER_LOCAL"), stored.get("prefer_local", False)),
        max_latency_ms=_first(settings.milliseconds("LLM_MAX_LATENCY_MS"), stored.get("max_latency_ms")),
        workspace=_first(settings.label("LLM_WORKSPACE"), stored.get("workspace")),
        local_model=local_model,
        upgrade=stored.get("upgrade", True),
        chains=stored.get("chains", {}),
        balance=stored.get("balance", {}),
        default_preference=stored.get("default_preference", DEFAULT_PREFERENCE),
        timeouts=Timeouts(**stored.get("timeouts", {})),
        models=stored.get("models", {}),
        limits=tuple(_limits(budgets)),
        warn_at=budgets.get("warn_at", WARN_AT),
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
    named = environ.get("LLMROUTE_LEDGER", "")
    source, text = ("LLMROUTE_LEDGER", named) if named.strip() else (f"{config_path}: ledger", stored)
    if text and is_server(text):
        return server_location(text, environ.get("LLMROUTE_SCHEMA"), config_dir, source)
    return LedgerLocation(_ledger_path(text, source) or config_dir / "ledger.db")


def _ledger_path(text: str | None, source: str) -> Path | None:
    """Return the path of the ledger, which is a regular file or does not exist yet.

    Raises:
        ConfigError: it is an address, or another kind of file, such as a device or a pipe.
    """
    require_path(text or "", source)
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
                yield Limit(period, workspace, as_picousd(usd))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _path(text: str | None) -> Path | None:
    if not text or not text.strip():
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

"""Each effective setting, and its origin: the environment, a .env file, a line of config.toml, or a default."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmroute import config as configuration
from llmroute.config.env import ADMIN_KEYS
from llmroute.planning import settings
from llmroute.providers import ENGINE
from llmroute.routing.actions import MAX_ATTEMPTS
from llmroute.routing.plan import Balance
from llmroute.text.redaction import shown
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.config import Config
    from llmroute.config.env import Setting, Settings
    from llmroute.config.toml_lines import KeyPath

Source = Literal["environment", ".env", "config.toml", "default"]
# Settings that are named alike in Config and in config.toml, with the variable that overrides them.
_TOP_LEVEL = {
    "default_provider": "LLM_DEFAULT_PROVIDER",
    "strategy": "LLM_ROUTING_STRATEGY",
    "enable_fallback": "LLM_ENABLE_FALLBACK",
    "max_attempts": None,
    "prefer_local": "LLM_PREFER_LOCAL",
    "max_latency_ms": "LLM_MAX_LATENCY_MS",
    "workspace": "LLM_WORKSPACE",
    "upgrade": None,
    "default_preference": None,
}
_NAMED_BY_USERS = ("budgets.workspaces.", "chains.", "models.")


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """A setting: its name as in config.toml, its value (`set` for a key, None if not set), and its origin.

    `variable` is the variable that sets it, `file` and `line` the place in a .env file or in config.toml.
    """

    name: str
    value: Any
    source: Source = "default"
    variable: str | None = None
    file: str | None = None
    line: int | None = None


def effective_settings(config: Config) -> list[EffectiveSetting]:
    """Return the effective settings of a request without flags.  Keys are never in it, whether they are used or not.

    Raises:
        ConfigError: a file cannot be read.
    """
    variables = settings.variables(config.config_dir)
    redaction = config.redaction(variables.all_keys())

    def hidden(value: Any) -> Any:
        if isinstance(value, list):
            return [redaction.hide(text) for text in value]
        return redaction.hide(value) if isinstance(value, str) else value

    def shown_name(name: str) -> str:
        return redaction.hide(name) if name.startswith(_NAMED_BY_USERS) else name

    found = _Origins(config, variables).all()
    return [replace(one, name=shown_name(one.name), value=hidden(one.value)) for one in found]


class _Origins:
    """Looks up where the values of a configuration come from."""

    def __init__(self, config: Config, variables: Settings) -> None:
        self._config = config
        self._path = config.config_dir / configuration.FILE
        self._variables = variables
        self._lines = _lines_of(self._path)

    def all(self) -> Iterator[EffectiveSetting]:
        config = self._config
        yield self._folder()
        in_environment = self._of_environment("ledger", "LLMROUTE_LEDGER", config.ledger.name)
        yield in_environment if in_environment.variable else self._found(("ledger",), config.ledger.name)
        if config.ledger_server is not None:
            yield self._of_environment("schema", "LLMROUTE_SCHEMA", config.ledger_server.schema)
        yield self._of_environment("local_model", "LLMROUTE_LOCAL_MODEL", _text(config.local_model))
        for name, variable in _TOP_LEVEL.items():
            value = getattr(config, name)
            value = MAX_ATTEMPTS if name == "max_attempts" and value is None else value
            yield self._found((name,), value, self._variable(name, variable))
        for name, value in config.timeouts._asdict().items():
            yield self._found(("timeouts", name), value)
        for name, value in Balance(**config.balance)._asdict().items():
            yield self._found(("balance", name), value)
        yield self._found(("budgets", "warn_at"), config.warn_at)
        for limit in config.limits:
            table = ("budgets", "workspaces", limit.workspace) if limit.workspace else ("budgets",)
            yield self._found((*table, limit.period), limit.cap_picousd / PICO_PER_USD)
        for name in config.providers:
            if name != ENGINE:
                yield from self._provider(name)
        for chain, models in config.chains.items():
            yield self._found(("chains", chain), models)
        for model in config.models:
            yield self._found(("models", model), "set")

    def _folder(self) -> EffectiveSetting:
        folder = str(self._config.config_dir)
        own = self._of_environment("config_dir", "LLMROUTE_CONFIG_DIR", folder)
        # A relative path there is ignored.
        is_xdg = own.source == "default" and Path(os.environ.get("XDG_CONFIG_HOME", "")).is_absolute()
        return EffectiveSetting("config_dir", folder, "environment", "XDG_CONFIG_HOME") if is_xdg else own

    def _of_environment(self, name: str, variable: str, value: Any) -> EffectiveSetting:
        """Return a setting that only the environment can set."""
        if os.environ.get(variable, "").strip():
            return EffectiveSetting(name, value, "environment", variable)
        return EffectiveSetting(name, value)

    def _variable(self, name: str, variable: str | None) -> Setting | None:
        if variable is None:
            return None
        # The working directory cannot enable fallback where another source disables it.
        is_ignored = name == "enable_fallback" and self._variables.boolean(variable) != self._config.enable_fallback
        return self._variables.find(variable, trusted=is_ignored)

    def _provider(self, name: str) -> Iterator[EffectiveSetting]:
        found, upper = self._config.providers[name], name.upper()
        key = self._variables.find(found.key_variable)
        yield self._found(("providers", name, "api_key"), _key(key, found.problem), key)
        if name in ADMIN_KEYS:
            admin_key = self._variables.find(ADMIN_KEYS[name])
            yield self._found(("providers", name, "admin_key"), _key(admin_key, found.admin_problem), admin_key)
        url = self._variables.find(f"{upper}_BASE_URL")
        if url is None and name == "ollama":
            url = self._variables.find("OLLAMA_HOST")
        address = None if found.base_url is None else shown(found.base_url)
        yield self._found(("providers", name, "base_url"), address, url)
        organization = self._variables.find(f"{upper}_ORGANIZATION")
        yield self._found(("providers", name, "organization"), found.organization, organization)

    def _found(self, path: KeyPath, value: Any, setting: Setting | None = None) -> EffectiveSetting:
        """Return a setting with the place of its variable, else of its line in config.toml."""
        name = ".".join(path)
        if setting is not None:
            if setting.from_environment:
                return EffectiveSetting(name, value, "environment", setting.name)
            return EffectiveSetting(name, value, ".env", setting.name, setting.place, setting.line)
        line = min((line for key, line in self._lines.items() if key[: len(path)] == path), default=None)
        if line is None:
            return EffectiveSetting(name, value)
        return EffectiveSetting(name, value, "config.toml", None, str(self._path), line)


def _lines_of(path: Path) -> dict[KeyPath, int]:
    from llmroute.config.toml_lines import key_lines

    # Read and validated a moment ago.
    return key_lines(path.read_text(encoding="utf-8-sig")) if path.exists() else {}


def _key(key: Setting | None, problem: str | None) -> str | None:
    """Return the text that is shown instead of a key."""
    if key is None:
        return None
    return "set" if problem is None else f"set, not used: {problem}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)

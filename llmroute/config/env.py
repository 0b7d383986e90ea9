"""Settings from the environment and the .env files."""

from __future__ import annotations

from os.path import realpath
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llmroute.config import settings_file
from llmroute.errors import ConfigError
from llmroute.types.labels import label_problem, storable_label
from llmroute.urls import is_base_url, is_loopback, is_ollama_cloud, ollama_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")

ENVIRONMENT: Final = "the environment"

VARIABLES: Final = (
    "LLM_DEFAULT_PROVIDER",
    "LLM_ROUTING_STRATEGY",
    "LLM_ENABLE_FALLBACK",
    "LLM_PREFER_LOCAL",
    "LLM_MAX_LATENCY_MS",
    "LLM_WORKSPACE",
    "OLLAMA_HOST",
    "OPENAI_ORGANIZATION",
)
ADMIN_KEYS: Final = {"openai": "OPENAI_ADMIN_KEY", "anthropic": "ANTHROPIC_ADMIN_KEY"}
"""The variables of the keys that read cost reports, by provider."""
_OLLAMA_URLS: Final = ("OLLAMA_BASE_URL", "OLLAMA_HOST")
_ROUTING: Final = ("LLM_DEFAULT_PROVIDER", "LLM_ROUTING_STRATEGY", "LLM_PREFER_LOCAL")
_ENVIRONMENT_ONLY: Final = ("LLMROUTE_CONFIG_DIR", "LLMROUTE_LEDGER", "LLMROUTE_LOCAL_MODEL")
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Setting(NamedTuple):
    """The text of a setting, and the environment or the path and line of the .env file that sets it."""

    name: str
    value: str
    place: str
    from_working_directory: bool = False
    line: int | None = None

    @property
    def from_environment(self) -> bool:
        """Whether the environment sets it, and no file."""
        return self.place == ENVIRONMENT

    def __repr__(self) -> str:
        """Leave out the value, which may be a key."""
        return f"Setting({self.name!r}, {self.place!r})"


ENV_FILE: Final = ".env"
"""The file with variables in the working directory, and in the config directory."""
Source = tuple["Mapping[str, str | None]", str, bool]
"""The variables of a source, its name for messages, and whether it belongs to the working directory."""


class Settings:
    """Looks up variables in the environment, then in the .env files of the working and the config directory.

    Each method returns None for a variable that is not set, and raises a ConfigError for an invalid value.
    """

    def __init__(
        self, environ: Mapping[str, str], config_dir: Path, working_directory: Path | None, providers: tuple[str, ...]
    ) -> None:
        self._key_names = {*(f"{name.upper()}_API_KEY" for name in providers), *ADMIN_KEYS.values()}
        allowed = {*VARIABLES, *self._key_names, *(f"{name.upper()}_BASE_URL" for name in providers)}
        self.providers = providers
        self._sources: list[Source] = [(environ, ENVIRONMENT, False)]
        self._lines: dict[str, Mapping[str, int]] = {}
        self._ignored: list[str] = []
        self._working_env_path = ""
        if working_directory is not None and realpath(working_directory) == realpath(config_dir):
            working_directory = None
        self._notices: list[str] = []
        for folder, untrusted in ((working_directory, True), (config_dir, False)):
            if folder is None:
                continue
            file = settings_file.read_env(folder / ENV_FILE)
            place = str(folder / ENV_FILE)
            self._notices += _file_notices(file, place, environ)
            if file.values:
                self._lines[place] = file.lines
                self._sources.append(({k: v for k, v in file.values.items() if k in allowed}, place, untrusted))
                if untrusted:
                    self._working_env_path = place
        if self._working_env_path:
            self._ignore_unsafe()

    def _ignore_unsafe(self) -> None:
        """Drop settings of the working directory that would send prompts to other machines or evade a budget.

        A base URL on another machine is dropped for Ollama, which accepts requests without a key, unless the file also
        has the key for Ollama's cloud.  For any other provider it stays, as no key from another source is sent there
        and no request is made without a key.  With such a base URL, the file may not choose among providers.
        """
        (environ, _, _), (found, place, untrusted) = self._sources[:2]
        overridden = {name for name, value in environ.items() if (value or "").strip()}
        values = {name: text for name, value in found.items() if (text := (value or "").strip())}
        remote = {name for name in values.keys() - overridden if _is_remote_url(name, values[name])}
        unsafe = {"LLM_WORKSPACE"}
        key = self.find("OLLAMA_API_KEY")
        if key is None or key.from_working_directory:
            urls = remote.intersection(_OLLAMA_URLS)
            unsafe |= {name for name in urls if key is None or not is_ollama_cloud(values[name])}
        if remote:
            unsafe.update(_ROUTING)
        if remote - unsafe:
            unsafe.add("LLM_MAX_LATENCY_MS")
        self._ignored += [name for name in values if name in unsafe - overridden]
        safe = {name: value for name, value in found.items() if name not in unsafe}
        self._sources[1] = (safe, place, untrusted)

    @property
    def notice(self) -> str | None:
        """A notice about ignored settings and unreadable lines of the .env files, or None."""
        notices = list(self._notices)
        if self._ignored:
            notices.insert(
                0,
                f"{_ignored(self._ignored, self._working_env_path)}: a .env file in the working directory cannot"
                " redirect prompts to other machines or choose the workspace (set it in the environment"
                " if you trust it)",
            )
        return "; ".join(notices) or None

    def find(self, name: str, *, trusted: bool = False) -> Setting | None:
        """Return the setting from the first (trusted) source that has it; a blank one counts as not set."""
        for values, place, untrusted in self._sources:
            if not (trusted and untrusted) and (value := (values.get(name) or "").strip()):
                return Setting(name, value, place, untrusted, self._lines.get(place, {}).get(name))
        return None

    def all_keys(self) -> Iterator[str]:
        """Yield each key of each source, also those that another source overrides."""
        for values, _, _ in self._sources:
            yield from (value.strip() for name, value in values.items() if name in self._key_names and value)

    def label(self, name: str) -> str | None:
        """Return a variable that labels calls, as the ledger stores it.

        Raises:
            ConfigError: it is too long.
        """
        found = self.find(name)
        if found is None:
            return None
        label = storable_label(found.value)
        if (problem := label_problem(label)) is not None:
            raise ConfigError(f"{name} in {found.place} {problem}")
        if "\ufffd" in label and label != found.value:
            self._notices.append(f"{name} in {found.place} is not valid UTF-8: calls are recorded under {label!r}")
        return label

    def _parsed(self, name: str, expected: str, parse: Callable[[str], T | None]) -> T | None:
        found = self.find(name)
        if found is None:
            return None
        parsed = parse(found.value)
        if parsed is None:
            raise ConfigError(f"{name}: {found.value!r} in {found.place} is not {expected}")
        return parsed

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """Return a variable that has one of the allowed values, case-insensitive."""
        expected = f"one of {', '.join(allowed)}"
        return self._parsed(name, expected, lambda text: text.lower() if text.lower() in allowed else None)

    def fallback(self, stored: bool) -> bool:
        """Return whether fallback is enabled; the working directory cannot enable it if another source disables it."""
        name = "LLM_ENABLE_FALLBACK"
        enabled = self.boolean(name)
        if enabled is None:
            return stored
        setting, trusted = self.find(name), self.find(name, trusted=True)
        allowed = _BOOLEANS.get(trusted.value.lower(), True) if trusted else stored
        if enabled and not allowed and setting is not None and setting.from_working_directory:
            self._ignored.append(name)
            return False
        return enabled

    def boolean(self, name: str) -> bool | None:
        """Return True for 1, true, yes or on, and False for 0, false, no or off."""
        return self._parsed(name, "true or false", lambda text: _BOOLEANS.get(text.lower()))

    def milliseconds(self, name: str) -> int | None:
        """Return a variable as an integer above 0."""

        def parse(text: str) -> int | None:
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0 else None  # noqa: PLR2004

        return self._parsed(name, "an integer number of milliseconds above 0", parse)


def _is_remote_url(name: str, value: str) -> bool:
    """Whether a variable is the base URL of another machine, in any form that is accepted."""
    if name == "OLLAMA_HOST" or (name == "OLLAMA_BASE_URL" and not is_base_url(value)):
        value = ollama_url(value)
    elif not name.endswith("_BASE_URL"):
        return False
    return is_base_url(value) and not is_loopback(value)


def _file_notices(file: settings_file.EnvFile, place: str, environ: Mapping[str, str]) -> list[str]:
    """Return notices about a .env file; an unreadable line is not quoted, as it may hold a key."""
    notices = [f"{place}: line {number} does not parse and is ignored" for number in file.unread_lines]
    names = [name for name in _ENVIRONMENT_ONLY if name in file.values and name not in environ]
    return notices + ([f"{_ignored(names, place)}: set it in the environment"] if names else [])


def _ignored(names: list[str], place: str) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last} in {place} are ignored" if first else f"{last} in {place} is ignored"

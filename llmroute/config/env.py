"""Where settings are written: the environment and the .env files, looked through name by name."""

from __future__ import annotations

import re
from os.path import realpath
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llmroute.config import settings_file
from llmroute.errors import ConfigError
from llmroute.text.redaction import shown
from llmroute.urls import is_base_url, is_loopback, is_ollama_cloud, ollama_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

_HOST_ALONE: Final = re.compile(r"([A-Za-z]+://)?[A-Za-z0-9-]*([.:][A-Za-z0-9-]*){1,8}")

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
_OLLAMA_ADDRESSES: Final = ("OLLAMA_BASE_URL", "OLLAMA_HOST")
_STEERING: Final = ("LLM_DEFAULT_PROVIDER", "LLM_ROUTING_STRATEGY", "LLM_PREFER_LOCAL")
_OF_ENVIRONMENT: Final = ("LLMROUTE_CONFIG_DIR", "LLMROUTE_LEDGER", "LLMROUTE_LOCAL_MODEL")
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


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
    """Where to call a provider and with what.

    `problem` says why it must not be called, in words for a person; `foreign_key_problem` why it must not be called
    with a key that comes from another place than its address does.  `found_address` says that its address was merely
    found in the working directory: what is read there is no news for other directories.
    """

    key_variable: str
    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    problem: str | None = None
    foreign_key_problem: str | None = None
    found_address: bool = False

    def __repr__(self) -> str:
        """Tell everything but the key, and a token in the address."""
        address = None if self.base_url is None else shown(self.base_url)
        return f"ProviderSettings({self.key_variable!r}, base_url={address!r}, problem={self.problem!r})"

    def with_key(self, api_key: str) -> ProviderSettings:
        """Return the settings with a key that a program gives; where it must not be sent, the problem in its place."""
        problem = self.foreign_key_problem or plain_http_problem("base_url", self.base_url)
        return self._replace(api_key=None if problem else api_key, problem=problem)


Source = tuple["Mapping[str, str | None]", str, bool]
"""What a place sets, its name, and whether it is the working directory's."""


class Settings:
    """Looks a name up in the environment, then in the two .env files.

    Each method returns None where nobody set the name, and raises a ConfigError where it is set to what does not fit.
    """

    def __init__(
        self, environ: Mapping[str, str], config_dir: Path, working_directory: Path | None, providers: tuple[str, ...]
    ) -> None:
        allowed = set(VARIABLES) | {f"{name.upper()}_{what}" for name in providers for what in ("API_KEY", "BASE_URL")}
        self._sources: list[Source] = [(environ, ENVIRONMENT, False)]
        self._ignored: list[str] = []
        self._working_file = ""
        if working_directory is not None and realpath(working_directory) == realpath(config_dir):
            working_directory = None
        self._notices: list[str] = []
        for folder, untrusted in ((working_directory, True), (config_dir, False)):
            if folder is None:
                continue
            file = settings_file.read_env(folder / ".env")
            place = str(folder / ".env")
            self._notices += _told(file, place, environ)
            if file.values:
                self._sources.append(({k: v for k, v in file.values.items() if k in allowed}, place, untrusted))
                if untrusted:
                    self._working_file = place
        if self._working_file:
            self._ignore_what_widens()

    def _ignore_what_widens(self) -> None:
        """Take out of the working directory's settings what would send prompts elsewhere, or past a workspace's cap.

        A key beside an address of Ollama changes nothing, for a server without keys takes any; except at Ollama's own
        cloud.  Any other provider gets no key from elsewhere at such an address, and no prompt without one.  A file
        with another machine's address does not choose among providers.
        """
        (environ, _, _), (found, place, untrusted) = self._sources[:2]
        overruled = {name for name, value in environ.items() if (value or "").strip()}
        values = {name: text for name, value in found.items() if (text := (value or "").strip())}
        away = {name for name in values.keys() - overruled if _leads_away(name, values[name])}
        widening = {"LLM_WORKSPACE"}
        key = self.find("OLLAMA_API_KEY")
        if key is None or key.from_working_directory:
            addresses = away.intersection(_OLLAMA_ADDRESSES)
            widening |= {name for name in addresses if key is None or not is_ollama_cloud(values[name])}
        if away:
            widening.update(_STEERING)
        if away - widening:
            widening.add("LLM_MAX_LATENCY_MS")
        self._ignored += [name for name in values if name in widening - overruled]
        kept = {name: value for name, value in found.items() if name not in widening}
        self._sources[1] = (kept, place, untrusted)

    @property
    def notice(self) -> str | None:
        """What of the .env files is ignored, for a person; None where nothing is."""
        notices = list(self._notices)
        if self._ignored:
            notices.insert(
                0,
                f"{_ignored(self._ignored, self._working_file)}: a working directory steers no prompts to other"
                " machines and does not choose the workspace (set it in the environment if you trust it)",
            )
        return "; ".join(notices) or None

    def find(self, name: str, *, trusted: bool = False) -> Setting | None:
        """Return the setting from the first place that has it, `trusted` places only; blank is not set."""
        for values, place, untrusted in self._sources:
            if not (trusted and untrusted) and (value := (values.get(name) or "").strip()):
                return Setting(name, value, place, untrusted)
        return None

    def text(self, name: str) -> str | None:
        """Return it as it was written."""
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
        """Return which of some words it is, whatever its case."""
        expected = f"one of {', '.join(allowed)}"
        return self._parsed(name, expected, lambda text: text.lower() if text.lower() in allowed else None)

    def fallback(self, stored: bool) -> bool:
        """Return whether others may be asked; where that is forbidden, a working directory does not allow it."""
        name = "LLM_ENABLE_FALLBACK"
        asked = self.boolean(name)
        if asked is None:
            return stored
        setting, trusted = self.find(name), self.find(name, trusted=True)
        allowed = _BOOLEANS.get(trusted.value.lower(), True) if trusted else stored
        if asked and not allowed and setting is not None and setting.from_working_directory:
            self._ignored.append(name)
            return False
        return asked

    def boolean(self, name: str) -> bool | None:
        """Return whether it is 1, true, yes or on, rather than 0, false, no or off."""
        return self._parsed(name, "true or false", lambda text: _BOOLEANS.get(text.lower()))

    def milliseconds(self, name: str) -> int | None:
        """Return it as a whole number of milliseconds above 0."""

        def parse(text: str) -> int | None:
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0 else None  # noqa: PLR2004

        return self._parsed(name, "a whole number of milliseconds above 0", parse)

    def provider(self, name: str, stored: dict[str, str]) -> ProviderSettings:
        """Join what is known of one provider; what must not be called says so in `problem`."""
        variable = f"{name.upper()}_API_KEY"
        key = self.find(variable)
        url = self.find(f"{name.upper()}_BASE_URL")
        if url is None and name == "ollama" and (host := self.find("OLLAMA_HOST")):
            url = Setting(host.name, ollama_url(host.value), host.place, host.from_working_directory)
        if url is not None:
            _check_url(url)
        if key is not None:
            _check_header(key)
        api_key = key.value if key else None
        base_url = url.value if url else stored.get("base_url")
        plain = plain_http_problem(url.name if url else "base_url", base_url)
        foreign = _untrusted_problem(url) or plain
        problem = None if key is None else plain if url and key.place == url.place else foreign
        organization = self.find(f"{name.upper()}_ORGANIZATION")
        if organization is not None:
            _check_header(organization)
        named = organization.value if organization else stored.get("organization")
        found = url is not None and url.from_working_directory
        return ProviderSettings(variable, None if problem else api_key, base_url, named, problem, foreign, found)


def _leads_away(name: str, value: str) -> bool:
    """Whether a setting is an address, in any form that is taken for one, and another machine's."""
    if name == "OLLAMA_HOST" or (name == "OLLAMA_BASE_URL" and not is_base_url(value)):
        value = ollama_url(value)
    elif not name.endswith("_BASE_URL"):
        return False
    return is_base_url(value) and not is_loopback(value)


def _untrusted_problem(url: Setting | None) -> str | None:
    """Say why a key must not go to an address that was merely found in the working directory."""
    if url is None or not url.from_working_directory or is_loopback(url.value):
        return None
    return (
        f"{url.name} in {url.place} would receive a key from elsewhere"
        f" (set {url.name} in the environment if you trust it)"
    )


def plain_http_problem(name: str, base_url: str | None) -> str | None:
    """Say why a key must not go to an address: it is another machine, and everyone on the way would read the key."""
    if base_url is None or is_loopback(base_url) or not base_url.lower().startswith("http:"):
        return None
    return f"{name}: a key goes over plain http to this machine only (use https)"


def _told(file: settings_file.EnvFile, place: str, environ: Mapping[str, str]) -> list[str]:
    """Say what of a .env file counts for nothing; of an unreadable line not even a part, which may be of a key."""
    notices = [f"{place}: line {number} cannot be read" for number in file.unread_lines]
    names = [name for name in _OF_ENVIRONMENT if name in file.values and name not in environ]
    return notices + ([f"{_ignored(names, place)}: only the environment sets that"] if names else [])


def _ignored(names: list[str], place: str) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last} in {place} are ignored" if first else f"{last} in {place} is ignored"


def is_header(text: str) -> bool:
    """Whether a text can be sent as the value of a header, and as no more than that."""
    return text.isascii() and text.isprintable()


def _check_header(setting: Setting) -> None:
    """Refuse what cannot be sent as a header, or would be sent as two; the value itself is never told."""
    if not is_header(setting.value):
        raise ConfigError(
            f"{setting.name}: the value in {setting.place} is not one line of printable ASCII characters",
            hint="copy it again: it holds a line break or a character that no key has",
        )


def _check_url(setting: Setting) -> None:
    if not is_base_url(setting.value):
        # A password or a token may be in what is more than a host.
        told = repr(setting.value) if _HOST_ALONE.fullmatch(setting.value) else "the value"
        raise ConfigError(f"{setting.name}: {told} in {setting.place} is not an address like https://host/v1")

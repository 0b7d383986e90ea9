"""Where settings are written: the environment and the .env files, looked through name by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llmroute.addresses import is_base_url, is_loopback
from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

OLLAMA_PORT: Final = "11434"
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
    with a key that comes from another place than its address does.
    """

    key_variable: str
    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    problem: str | None = None
    foreign_key_problem: str | None = None

    def __repr__(self) -> str:
        """Tell everything but the key."""
        return f"ProviderSettings({self.key_variable!r}, base_url={self.base_url!r}, problem={self.problem!r})"

    def with_key(self, api_key: str) -> ProviderSettings:
        """Return the settings with a key that a program gives; where it must not be sent, the problem in its place."""
        problem = self.foreign_key_problem or plain_http_problem("base_url", self.base_url)
        return self._replace(api_key=None if problem else api_key, problem=problem)


class Settings:
    """Looks a name up in the environment, then in the two .env files.

    Each method returns None where nobody set the name, and raises a ConfigError where it is set to what does not fit.
    """

    def __init__(
        self, environ: Mapping[str, str], config_dir: Path, working_directory: Path | None, providers: tuple[str, ...]
    ) -> None:
        allowed = set(VARIABLES) | {f"{name.upper()}_{what}" for name in providers for what in ("API_KEY", "BASE_URL")}
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
            url = Setting(host.name, _ollama_url(host.value), host.place, host.from_working_directory)
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
        return ProviderSettings(variable, None if problem else api_key, base_url, named, problem, foreign)


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

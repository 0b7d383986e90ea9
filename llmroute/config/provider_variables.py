"""The settings of a provider from its variables, its table in config.toml, and the rules for sending a key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llmroute.config.env import ADMIN_KEYS, Setting
from llmroute.config.provider_settings import ProviderSettings, is_header, plain_http_problem
from llmroute.errors import ConfigError
from llmroute.urls import is_base_url, is_loopback, ollama_url

if TYPE_CHECKING:
    from llmroute.config.env import Settings

_HOST_ONLY: Final = re.compile(r"([A-Za-z]+://)?[A-Za-z0-9-]*([.:][A-Za-z0-9-]*){1,8}")


def provider_settings(settings: Settings, name: str, stored: dict[str, str]) -> ProviderSettings:
    """Return the settings of one provider; `stored` is its table in config.toml."""
    url = settings.find(f"{name.upper()}_BASE_URL")
    if url is None and name == "ollama" and (host := settings.find("OLLAMA_HOST")):
        url = Setting(host.name, ollama_url(host.value), host.place, host.from_working_directory)
    if url is not None:
        _check_url(url)
    key = _header(settings, key_variable(name))
    base_url = url.value if url else stored.get("base_url")
    plain = plain_http_problem(url.name if url else "base_url", base_url)
    foreign = _untrusted_problem(url) or plain
    admin_key = _header(settings, ADMIN_KEYS.get(name, ""))

    def problem_of(secret: Setting | None) -> str | None:
        return None if secret is None else plain if url and secret.place == url.place else foreign

    problem, admin_problem = problem_of(key), problem_of(admin_key)
    organization = _header(settings, f"{name.upper()}_ORGANIZATION")
    return ProviderSettings(
        key_variable=key_variable(name),
        api_key=key.value if key and not problem else None,
        base_url=base_url,
        organization=organization.value if organization else stored.get("organization"),
        problem=problem,
        foreign_key_problem=foreign,
        found_address=url is not None and url.from_working_directory,
        admin_key=admin_key.value if admin_key and not admin_problem else None,
        admin_problem=admin_problem,
    )


def key_variable(provider: str) -> str:
    """Return the environment variable of a provider's key."""
    return f"{provider.upper()}_API_KEY"


def _untrusted_problem(url: Setting | None) -> str | None:
    """Return the problem of sending a key to a base URL from the .env file of the working directory, or None."""
    if url is None or not url.from_working_directory or is_loopback(url.value):
        return None
    return (
        f"{url.name} in {url.place} would receive a key from another source"
        f" (set {url.name} in the environment if you trust it)"
    )


def _header(settings: Settings, name: str) -> Setting | None:
    """Return a variable whose value is sent in a header.

    Raises:
        ConfigError: it is not a valid header; the message does not contain the value.
    """
    found = settings.find(name)
    if found is not None and not is_header(found.value):
        raise ConfigError(
            f"{found.name}: the value in {found.place} is not one line of printable ASCII characters",
            hint="copy it again: it has a line break or a character that keys do not have",
        )
    return found


def _check_url(setting: Setting) -> None:
    if not is_base_url(setting.value):
        # Anything longer than a host may contain a password or a token.
        printable = repr(setting.value) if _HOST_ONLY.fullmatch(setting.value) else "the value"
        raise ConfigError(f"{setting.name}: {printable} in {setting.place} is not a URL like https://host/v1")

"""Connection settings of a provider: API key, base URL, organization, and the rules for sending a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import ConfigError
from llmroute.text.redaction import shown
from llmroute.text.suggest import nearest
from llmroute.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProviderSettings(NamedTuple):
    """The base URL and the key of a provider.

    `problem` is the reason why requests cannot be sent, for a message; `foreign_key_problem` the reason why a key from
    a source other than that of the base URL is not sent.  `found_address` says that the base URL comes from the .env
    file of the working directory, so a failure there says nothing about the provider in other directories.  `admin_key`
    reads the provider's cost reports and nothing else; `admin_problem` is the reason why it is not sent.
    """

    key_variable: str
    api_key: str | None = None
    base_url: str | None = None
    organization: str | None = None
    problem: str | None = None
    foreign_key_problem: str | None = None
    found_address: bool = False
    admin_key: str | None = None
    admin_problem: str | None = None

    def __repr__(self) -> str:
        """Leave out the key, and a token in the base URL."""
        address = None if self.base_url is None else shown(self.base_url)
        return f"ProviderSettings({self.key_variable!r}, base_url={address!r}, problem={self.problem!r})"

    def with_key(self, api_key: str) -> ProviderSettings:
        """Return the settings with a key that the caller passes, or with the problem of sending it to this base URL."""
        problem = self.foreign_key_problem or plain_http_problem("base_url", self.base_url)
        return self._replace(api_key=None if problem else api_key, problem=problem)


def plain_http_problem(name: str, base_url: str | None) -> str | None:
    """Return the problem of sending a key to a base URL: unencrypted HTTP to another machine; None where it is safe."""
    if base_url is None or is_loopback(base_url) or not base_url.lower().startswith("http:"):
        return None
    return f"{name}: API keys are sent over plain http to this machine only (use https)"


def is_header(text: str) -> bool:
    """Whether a text is a valid value of exactly one HTTP header."""
    return text.isascii() and text.isprintable()


def checked_keys(keys: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
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

"""Redaction of keys and of tokens in the addresses of gateways, and safe display of untrusted text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK: Final = "[key]"
SHORTEST: Final = 6
"""A shorter secret is in too many words to be looked for."""

_PLAIN: Final = frozenset(
    (
        *("api", "v1", "openai", "anthropic", "mistral", "ollama", "together", "compatible-mode", "compatibility"),
        *("chat", "completions", "messages", "models", "tags", "show", "pull", "generate", "embeddings", "responses"),
        *("inference", "deployments", "gateway", "proxy", "serverless", "llm", "endpoints", "openapi", "router"),
        *("azure", "vertex", "bedrock", "litellm", "providers", "engines", "services", "projects", "internal"),
        *("production", "staging", "development", "testing", "public", "global"),
    )
)
"""Common parts of a path. Other words cannot be distinguished from short tokens."""
_NAMED: Final = frozenset(("deployments", "engines"))
"""Parts of a path behind which a name stands."""
_WORD: Final = r"(?![a-f]{6})(?:[A-Z]?[a-z]{1,13}|[A-Z]{1,5})"
_PIECES: Final = (
    rf"(?:[-._:](?:{_WORD}|[A-Za-z]{{1,5}}\d{{1,2}}[a-z]?|\d{{1,4}}[A-Za-z]{{0,2}}|20[2-3]\d[01]\d[0-3]\d))*"
)
_FAMILIES: Final = "|".join(
    (
        *("gpt", "chatgpt", "o(?=[1-9])", "claude", "mistral", "ministral", "magistral", "codestral", "devstral"),
        *("pixtral", "mixtral", "llama", "codellama", "meta-llama", "qwen", "deepseek", "gemma", "gemini", "phi"),
        *("kimi", "glm", "minimax", "command", "grok", "smollm", "nemotron"),
    )
)
_MODEL: Final = re.compile(rf"(?=.{{2,64}}$)(?i:{_FAMILIES})\d{{0,2}}(?:[a-z]|\.\d)?{_PIECES}")
"""A model of a known family: short words and numbers, and no long run of both."""
_NAME: Final = re.compile(rf"(?=.{{2,64}}$)(?:{_WORD}|[a-z]{{1,3}}\d{{1,2}}[a-z]?){_PIECES}")
_VERSION: Final = re.compile(r"v\d{1,3}(?:(?:alpha|beta)\d*)?", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?(?:[^/?#]*@)?([^/?#]*)([^?#]*)", re.DOTALL)


class Redaction(NamedTuple):
    """Hides secrets in text."""

    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str | None], addresses: Iterable[str | None]) -> Redaction:
        """Return the redaction of keys, and of the tokens in addresses, as they are and as a URL encodes them."""
        from urllib.parse import quote, unquote

        plain = [key for key in keys if key]
        plain += [token for address in addresses if address for token in _tokens(address)]
        forms = {form for secret in plain for form in (secret, unquote(secret), quote(secret, safe=""))}
        return cls(tuple(sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True)))

    def but(self, name: str) -> Redaction:
        """Return a redaction that keeps a name that the caller gave, such as that of the called model."""
        return Redaction(tuple(secret for secret in self.secrets if secret.lower() != name.lower()))

    def hide(self, text: str) -> str:
        """Return a text without the secrets, whatever their case."""
        return _pattern(self.secrets).sub(MARK, text) if self.secrets and text else text

    def line(self, text: str, most: int) -> str:
        """Return an untrusted text as one line of at most so many characters, without secrets and controls."""
        window = 4 * most + (len(self.secrets[0]) if self.secrets else 0)
        shown = self.hide(one_line(text[:window]))
        if len(text) > window:
            shown = self._without_beginning(shown)
        return shortened(shown, most)

    def _without_beginning(self, text: str) -> str:
        """Cut the beginning of a secret off the end of a text."""
        lowered = text.lower()
        for secret in self.secrets:
            for length in range(min(len(secret) - 1, len(text)), SHORTEST - 1, -1):
                if lowered.endswith(secret[:length].lower()):
                    return text[:-length]
        return text


@lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, secrets)), re.IGNORECASE)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with an ellipsis where it was cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def one_line(text: str) -> str:
    """Return a text on one line, without terminal control characters: unprintable characters become spaces."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def public(url: str) -> str:
    """Return an address that no provider is called at without its user and its query."""
    found = _ADDRESS.match(url)
    assert found is not None
    return "".join(found.groups(default=""))


def shown(url: str) -> str:
    """Return an address as it may be shown: no user, no query, and of its path nothing that may be a token."""
    found = _ADDRESS.match(url)
    assert found is not None
    scheme, host, path = found.groups(default="")
    tokens = set(_tokens(url))
    return f"{scheme}{host}" + "/".join(MARK if part in tokens else part for part in path.split("/"))


def _tokens(url: str) -> list[str]:
    """Return the parts of a path that may be tokens: all but common words and names of models."""
    found = _ADDRESS.match(url)
    assert found is not None
    parts = found[3].split("/")
    return [part for before, part in zip(("", *parts), parts, strict=False) if part and not _is_plain(part, before)]


def _is_plain(part: str, before: str) -> bool:
    return (
        part.lower() in _PLAIN
        or _VERSION.fullmatch(part) is not None
        or _MODEL.fullmatch(part) is not None
        or (before.lower() in _NAMED and part.islower() and _NAME.fullmatch(part) is not None)
    )

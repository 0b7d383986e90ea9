"""Base URLs and hosts: which are this machine's, and the form in which a provider is called. Nothing is resolved."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

LOCALHOST: Final = "localhost"
LOOPBACK_ADDRESSES: Final = ("127.0.0.1", "::1")
OLLAMA_PORT: Final = "11434"
OLLAMA_URL: Final = f"http://{LOOPBACK_ADDRESSES[0]}:{OLLAMA_PORT}"

_VERSION: Final = re.compile(r"/v\d+[a-z]*\d*(/|$)")
_OLLAMA_CLOUD: Final = re.compile(r"https://ollama\.com:443(/.*)?")
_BASE_URL: Final = r"[Hh][Tt][Tt][Pp][Ss]?://(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[^ ?#\\]*)?"


@lru_cache(maxsize=64)
def is_loopback_host(host: str) -> bool:
    """Whether a host is this machine: `localhost`, or an address literal that `ipaddress` calls loopback.

    Nothing else is, whatever it resolves to; `transport` connects these as such.
    """
    if host.lower() == LOCALHOST:
        return True
    if not host.startswith("127.") and ":" not in host:
        return False
    from ipaddress import ip_address

    literal = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        # The part after a % names an interface, or else may be resolved as a name.
        return "%" not in literal and ip_address(literal).is_loopback
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    from urllib.parse import urlsplit

    try:
        return is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_base_url(text: str) -> bool:
    """Whether a text is an address that requests can be sent below: http or https, a host, no user, no query.

    Whatever two parsers may read differently is refused: the one that judges must see the host that is called.
    """
    from urllib.parse import urlsplit

    if not (text.isascii() and text.isprintable() and re.fullmatch(_BASE_URL, text)):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def ollama_url(host: str) -> str:
    """Read OLLAMA_HOST as Ollama does: scheme and port may be missing; "any address" means this machine."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    usual = {"http": "80", "https": "443"}.get(scheme, OLLAMA_PORT) if separator else OLLAMA_PORT
    address, slash, path = rest.partition("/")
    if "@" in address:
        # With a user it is not a host with a port; it is no base URL as it stands.
        return host
    if address.startswith("["):
        name, _, port = address.partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = address.partition(":") if address.count(":") == 1 else (address, "", "")
    port = port if port.isdigit() else usual
    bare = name.strip("[]")
    bare = LOOPBACK_ADDRESSES[0] if bare in ("", "0.0.0.0", "::") else bare  # noqa: S104 (not a bind)
    return f"{scheme}://{f'[{bare}]' if ':' in bare else bare}:{port}{slash}{path}".rstrip("/")


def is_ollama_cloud(host: str) -> bool:
    """Whether an OLLAMA_HOST is Ollama's own cloud."""
    return _OLLAMA_CLOUD.fullmatch(ollama_url(host)) is not None


def is_ollama_cloud_tag(model: str) -> bool:
    """Whether Ollama forwards a model to its cloud: its tag is `cloud` or ends in `-cloud`."""
    return model.endswith((":cloud", "-cloud"))


def ollama_root(base_url: str) -> str:
    """Return the URL above Ollama's `/api`; a host may stand alone, as in OLLAMA_HOST."""
    url = base_url.strip().rstrip("/")
    return re.sub(r"/(v1|api)$", "", url if "://" in url else ollama_url(url))


def versioned(base_url: str) -> str:
    """Return a base URL without a slash at its end and with its version; `/v1` is added where it has none."""
    url = base_url.strip().rstrip("/")
    while url.endswith("/v1/v1"):
        url = url.removesuffix("/v1")
    path = "/" + url.partition("://")[2].partition("/")[2]
    return url if _VERSION.search(path) else url + "/v1"

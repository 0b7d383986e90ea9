"""Ways out of this machine: plain or TLS, straight or through a proxy; one pool of connections for each."""

from __future__ import annotations

import os
import ssl
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import certifi
import httpcore

from llmroute.addresses import is_loopback_host
from llmroute.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

Pool = TypeVar("Pool")


class Pools(Generic[Pool]):
    """Makes a pool when it is first needed, and a TLS context when the first TLS address is called."""

    def __init__(self, new: Callable[[ssl.SSLContext | None, httpcore.Proxy | None], Pool]) -> None:
        self._new = new
        self._by_way: dict[tuple[bool, str | None], Pool] = {}
        self._lock = threading.Lock()

    def find(self, url: httpcore.URL) -> Pool:
        """Return the pool for an address.

        Raises:
            UnreachableError: the proxy that the environment names is none that can be used.
        """
        secure = url.scheme == b"https"
        proxy = proxy_for(url)
        with self._lock:
            if (secure, proxy) not in self._by_way:
                context = tls_context() if secure else None
                self._by_way[secure, proxy] = self._new(context, None if proxy is None else _through(proxy))
            return self._by_way[secure, proxy]

    def all(self) -> list[Pool]:
        """Return every pool that was made."""
        return list(self._by_way.values())


@lru_cache(maxsize=64)
def address(text: str) -> httpcore.URL:
    """Return an address as it is called.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} is no address")
    parts = urlsplit(text)
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target=target)


def tls_context() -> ssl.SSLContext:
    """Trust whom SSL_CERT_FILE and SSL_CERT_DIR name, as OpenSSL does, else those whom certifi names.

    Raises:
        UnreachableError: what they name holds no certificates.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
    except OSError as error:
        raise UnreachableError(
            f"the certificates that the environment names cannot be read: {error.strerror or error}",
            hint="check SSL_CERT_FILE and SSL_CERT_DIR, or unset them",
        ) from error


def proxy_for(url: httpcore.URL) -> str | None:
    """Return the proxy that the environment names for an address; never one for this machine itself."""
    host, scheme = url.host.decode(), url.scheme.decode()
    if is_loopback_host(host) or not _may_name_proxies():
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy and not proxy_bypass(host) else None


def _may_name_proxies() -> bool:
    """Whether it is worth to import what reads proxies: 15 ms, for a variable that few have set."""
    by_system = sys.platform in ("darwin", "win32")
    return by_system or any(name.lower().endswith("_proxy") for name in os.environ)


def _through(proxy: str) -> httpcore.Proxy:
    scheme, _, rest = (proxy if "://" in proxy else f"http://{proxy}").partition("://")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    if scheme in ("http", "https") or (scheme in ("socks5", "socks5h") and find_spec("socksio")):
        with suppress(ValueError):
            auth = (unquote(user).encode(), unquote(password).encode()) if login else None
            return httpcore.Proxy(address(f"{scheme}://{place}"), auth)
    raise UnreachableError(
        f"the proxy that the environment names cannot be used: {scheme[:20]!r}",
        hint="name an http proxy in HTTPS_PROXY, or unset ALL_PROXY",
    )

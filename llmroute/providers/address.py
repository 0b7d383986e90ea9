"""Where a provider is called: base addresses as people write them, and as they are used."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_VERSION = re.compile(r"/v\d+[a-z]*\d*(/|$)")


def versioned(base_url: str) -> str:
    """Return an address that ends without a slash and has its version; /v1 is added where there is none."""
    address = base_url.strip().rstrip("/")
    while address.endswith("/v1/v1"):
        address = address.removesuffix("/v1")
    return address if _VERSION.search(_path(address)) else address + "/v1"


def stays_here(base_url: str) -> bool:
    """Whether an address is on this machine."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.endswith(".localhost") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def _path(address: str) -> str:
    return "/" + address.partition("://")[2].partition("/")[2]

"""Where a provider is called: base addresses as people write them, and as they are used."""

from __future__ import annotations

import re

_VERSION = re.compile(r"/v\d+[a-z]*\d*(/|$)")


def versioned(base_url: str) -> str:
    """Return an address that ends without a slash and has its version; /v1 is added where there is none."""
    address = base_url.strip().rstrip("/")
    while address.endswith("/v1/v1"):
        address = address.removesuffix("/v1")
    path = "/" + address.partition("://")[2].partition("/")[2]
    return address if _VERSION.search(path) else address + "/v1"


def ollama_address(base_url: str) -> str:
    """Return where Ollama is called: a host may stand alone, and then 0.0.0.0, where a server listens, is 127.0.0.1."""
    address = base_url.strip().rstrip("/")
    if "://" not in address:
        address = re.sub(r"^0\.0\.0\.0(?=[:/]|$)", "127.0.0.1", address)
        host = address.partition("/")[0]
        address = f"http://{address}" if re.search(r":\d+$", host) else f"http://{host}:11434"
    return re.sub(r"/(v1|api)$", "", address)

"""What an address says of itself, by its name alone: nothing is looked up."""

from __future__ import annotations


def is_loopback_host(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    if not host.startswith("127.") and ":" not in host:
        return False
    from ipaddress import ip_address

    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    from urllib.parse import urlsplit

    return is_loopback_host(urlsplit(url).hostname or "")

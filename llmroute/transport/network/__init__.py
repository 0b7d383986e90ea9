"""Connections below httpx: name resolution, loopback addresses, bytes sent."""

"""Ports for servers that are started, stopped and started again."""

from __future__ import annotations

import random
import socket

# Below those that Linux (from 32768), macOS and Windows (from 49152) give to outgoing connections: any of them might
# take the port of a server that is down.
_PORTS = range(10_000, 32_000)
_TRIES = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nothing listens, and which no outgoing connection is given."""
    dice = random.SystemRandom()
    for _ in range(_TRIES):
        port = dice.choice(_PORTS)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")

"""The address of a ledger on a PostgreSQL server, and its name without secrets."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from llmroute.errors import ConfigError

PREFIXES = ("postgresql://", "postgres://")
SCHEMA = "llmroute"


class ServerAddress(NamedTuple):
    """A URL as libpq takes it, which may hold a password, and the schema of the tables."""

    url: str
    schema: str = SCHEMA

    @property
    def name(self) -> str:
        """The address without user, password and options, for messages and file names."""
        parts = urlsplit(self.url)
        hosts = parts.netloc.rpartition("@")[2]
        place = f"postgresql://{hosts}{parts.path}"
        return place if self.schema == SCHEMA else f"{place} (schema {self.schema})"


def is_server(text: str) -> bool:
    """Whether the setting of a ledger names a server, not a file."""
    return text.startswith(PREFIXES)


def address_of(url: str, schema: str | None, source: str) -> ServerAddress:
    """Return the address that a setting names; `source` is where it comes from.

    Raises:
        ConfigError: it is no URL of a server, or no name of a schema; the message holds no password.
    """
    try:
        parts = urlsplit(url)
        _ports(parts.netloc.rpartition("@")[2])
    except ValueError as error:
        raise ConfigError(
            f"{source} is not the URL of a PostgreSQL server", hint="postgresql://user@host/database is one"
        ) from error
    schema = schema or SCHEMA
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
        raise ConfigError(
            f"LLMROUTE_SCHEMA={schema!r} is not the name of a schema",
            hint="use lowercase letters, digits and _, not beginning with a digit or pg_",
        )
    return ServerAddress(url, schema)


def _ports(hosts: str) -> None:
    """Check the ports of a comma-separated list of hosts.

    Raises:
        ValueError: one is not a number from 1 to 65535.
    """
    for host in hosts.split(","):
        # An IPv6 address is in brackets.
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):  # noqa: PLR2004 (16 bits)
            raise ValueError(port)

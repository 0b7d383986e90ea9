"""Where a ledger is: in a file, or on a PostgreSQL server."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from llmroute import exit_codes
from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES = ("postgresql://", "postgres://")
SCHEMA = "llmroute"
_MOST_PORT = 65_535


class ServerAddress(NamedTuple):
    """A URL as libpq takes it, which may hold a password, and the schema of the tables."""

    url: str
    schema: str = SCHEMA

    @property
    def name(self) -> str:
        """The address without user, password and options, for messages and file names."""
        parts = urlsplit(self.url)
        place = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return place if self.schema == SCHEMA else f"{place} (schema {self.schema})"


class LedgerLocation(NamedTuple):
    """The file of a ledger; of one on a `server`, a `path` that does not exist, and beside which its spool is kept."""

    path: Path
    server: ServerAddress | None = None

    @property
    def name(self) -> str:
        """The path or the address, without secrets."""
        return str(self.path) if self.server is None else self.server.name

    def exists(self) -> bool:
        """Whether there is a ledger to read; the tables of a server are created on first use."""
        return self.server is not None or self.path.exists()


def is_server(text: str) -> bool:
    """Whether the setting of a ledger names a server, not a file."""
    return text.startswith(PREFIXES)


def server_location(url: str, schema: str | None, folder: Path, source: str) -> LedgerLocation:
    """Return the location of a ledger on a server, with its spool in `folder`; `source` names the setting.

    Raises:
        ConfigError: it is no URL of a server, or no name of a schema, or the driver is not installed; the message
            holds no password.
    """
    from hashlib import sha256

    try:
        parts = urlsplit(url)
        _check_ports(parts.netloc.rpartition("@")[2])
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
    if find_spec("psycopg") is None:
        missing = ConfigError(
            f"{source} names a PostgreSQL server, and its driver is not installed",
            hint="pip install 'llmroute[postgres]'",
        )
        missing.exit_code = exit_codes.SETUP
        raise missing
    server = ServerAddress(url, schema)
    return LedgerLocation(folder / f"server-{sha256(server.name.encode()).hexdigest()[:16]}", server)


def _check_ports(hosts: str) -> None:
    """Check the ports of a comma-separated list of hosts.

    Raises:
        ValueError: one is not a number from 1 to 65535.
    """
    for host in hosts.split(","):
        # An IPv6 address is in brackets.
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port) <= _MOST_PORT):
            raise ValueError(port)

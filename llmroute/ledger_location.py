"""Where a ledger is: in a file, or on a PostgreSQL server."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from llmroute import exit_codes
from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES = ("postgresql://", "postgres://")
SCHEMA = "llmroute"
_MOST_PORT = 65_535
# Parameters that libpq takes from the environment where the URL does not have them, and that identify a database.
_PLACE = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
}
# As libpq reads a URL: the first @ before any slash ends the password, # is a character as others, and brackets count
# at the beginning of a host.
_HOST = r"(?:\[[^]]*])?[^/?,]*"
_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/]*)(?::[^@/]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>[^?]*)\??(?P<query>.*)",
    re.DOTALL,
)
# No file is meant: the scheme of a URL (a drive of Windows has one letter), or the words that libpq also takes.
_ADDRESS = re.compile(
    r"""\s*["']?([a-z][a-z0-9+.-]+:/|postgres(ql)?(:|//)|(host|hostaddr|port|dbname|user|password|service)\s*=)""",
    re.IGNORECASE,
)


class ServerAddress(NamedTuple):
    """A URL as libpq takes it, which may hold a password, and the schema of the tables."""

    url: str
    schema: str = SCHEMA

    def __repr__(self) -> str:
        """Return it without its password, for logs and tools that show local variables."""
        return f"ServerAddress({self.name!r})"

    @property
    def name(self) -> str:
        """The address with all parts that identify the database, without a password, for messages and file names."""
        parts = _parts(self.url)
        place = f"postgresql://{parts['hosts']}{parts['path']}"
        if options := _place_options(parts):
            place += f"?{'&'.join(options)}"
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


def require_path(text: str, source: str) -> None:
    """Check that the setting of a ledger, which is no server, is the path of a file; `source` names the setting.

    Raises:
        ConfigError: it is an address in another form; the message does not quote it, as it may hold a password.
    """
    if is_address(text):
        raise _no_url(source)


def is_address(text: str) -> bool:
    """Whether text means a server rather than a file; it may hold a password."""
    return "://" in text or _ADDRESS.match(text) is not None


def server_location(url: str, schema: str | None, folder: Path, source: str) -> LedgerLocation:
    """Return the location of a ledger on a server, with its spool in `folder`; `source` names the setting.

    Raises:
        ConfigError: it is no URL of a server, or no name of a schema, or the driver is not installed; the message
            holds no password.
    """
    from hashlib import sha256

    if not url.isprintable():
        raise _no_url(source)
    parts = _parts(url)
    names = [option.partition("=")[0] for option in parts["query"].split("&")]
    if "@" in "".join((parts["hosts"], parts["path"], *names)):
        # The rest of a password, which libpq takes for a host or a database.
        raise ConfigError(
            f"{source} has a password with @ or / in it", hint="write @ as %40 and / as %2F, or set PGPASSWORD"
        )
    try:
        _check_ports(parts["hosts"])
        # libpq's values are read as UTF-8.
        unquote(url, errors="strict").encode()
    except ValueError as error:
        raise _no_url(source) from error
    schema = schema or SCHEMA
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
        raise ConfigError(
            f"LLMROUTE_SCHEMA={schema!r} is not the name of a schema",
            hint="use lowercase letters, digits and _, not beginning with a digit or pg_",
        )
    if find_spec("psycopg") is None:
        raise no_driver(f"{source} names a PostgreSQL server, and its driver is not installed")
    server = ServerAddress(url, schema)
    return LedgerLocation(folder / f"server-{sha256(server.name.encode()).hexdigest()[:16]}", server)


def no_driver(message: str) -> ConfigError:
    """Return the error of a server whose driver cannot be used."""
    error = ConfigError(message, hint="pip install 'llmroute[postgres]'")
    error.exit_code = exit_codes.SETUP
    return error


def _no_url(source: str) -> ConfigError:
    return ConfigError(f"{source} is not the URL of a PostgreSQL server", hint="postgresql://user@host/database is one")


def _parts(url: str) -> dict[str, str]:
    """Return the user, the hosts, the path and the query of a URL, percent-encoded as they are in it."""
    found = _URL.fullmatch(url)
    assert found is not None
    return found.groupdict("")


def _place_options(parts: dict[str, str]) -> list[str]:
    """Return the options, of the URL and else of the environment, that name the server or its database."""
    named = {unquote(option.partition("=")[0]): option for option in parts["query"].split("&")}
    options = [option for name, option in named.items() if name in _PLACE]
    given = named.keys() & _PLACE.keys()
    hosts = parts["hosts"]
    if hosts:
        given.add("host")
    if re.search(r":\d+(,|$)", hosts):
        given.add("port")
    if parts["path"][1:]:
        given.add("dbname")
    for option, variable in _PLACE.items():
        if option not in given and (value := os.environ.get(variable)):
            options.append(f"{option}={value}")
            given.add(option)
    # The database is named as the user then.
    user = named.get("user", "").partition("=")[2] or parts["user"] or os.environ.get("PGUSER", "")
    if user and not given & {"dbname", "service"}:
        options.append(f"dbname={user}")
    return options


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

"""Connect to a server, which is refused where it cannot hold a ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from llmroute.errors import LedgerError
from llmroute.ledger.postgres.bounded_connection import CONNECT_S, BoundedConnection

if TYPE_CHECKING:
    from psycopg import Connection

    from llmroute.ledger_location import ServerAddress

# The first version with which the tests run.
OLDEST_SERVER = 15
# Encodings of databases that hold any text; SQL_ASCII takes bytes as they come.
_ENCODINGS = ("UTF8", "SQL_ASCII")
# A server that does not answer is not waited for again by this process, for so long.
_AWAY_S = 30.0
_away: dict[ServerAddress, tuple[float, str]] = {}


def note_away(address: ServerAddress, error: psycopg.Error) -> None:
    """Count a server as unreachable for a while."""
    _away[address] = time.monotonic() + _AWAY_S, str(error)


def connected(address: ServerAddress) -> BoundedConnection:
    """Connect to a server.

    Raises:
        psycopg.Error: it cannot be reached, or could not a moment ago.
        LedgerError: it cannot hold a ledger, or its URL is invalid.
    """
    parameters = _parameters(address)
    until_s, reason = _away.get(address, (0.0, ""))
    if time.monotonic() < until_s:
        raise psycopg.OperationalError(reason)
    began_s = time.monotonic()
    try:
        db = BoundedConnection.connect(
            address.url, autocommit=True, prepare_threshold=None, client_encoding="UTF8", **parameters
        )
    except psycopg.Error as error:
        if time.monotonic() - began_s >= CONNECT_S / 2:
            note_away(address, error)
        raise
    try:
        require_server(db, address)
    except LedgerError:
        db.close()
        raise
    return db


def _parameters(address: ServerAddress) -> dict[str, Any]:
    """Return the parameters of a connection that its URL does not set."""
    try:
        parameters = conninfo_to_dict(address.url)
    except psycopg.ProgrammingError as error:
        # Its words may quote a password.
        raise LedgerError(
            f"the URL of the ledger {address.name} is not one that libpq reads",
            hint="postgresql://user@host/database?sslmode=verify-full is one",
        ) from error
    usual: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "application_name": "llmroute",
        "tcp_user_timeout": 10_000,
        "target_session_attrs": "read-write" if "," in str(parameters.get("host", "")) else "any",
    }
    return {name: value for name, value in usual.items() if name not in parameters}


def require_server(db: Connection, address: ServerAddress) -> None:
    """Refuse a server that is too old, and a database that cannot hold any text.

    Raises:
        LedgerError: it is one of them.
    """
    version = db.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise LedgerError(
            f"the ledger {address.name} needs PostgreSQL {OLDEST_SERVER} or newer; the server is {version}",
            hint="update the server, or set LLMROUTE_LEDGER to another",
        )
    encoding = db.info.parameter_status("server_encoding") or _ENCODINGS[0]
    if encoding not in _ENCODINGS:
        raise LedgerError(
            f"the ledger {address.name} needs a database in UTF8; this one is in {encoding}",
            hint="create one from template0, with the encoding UTF8 and the locale C",
        )

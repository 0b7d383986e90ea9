"""Connect to a server, which is refused where it cannot hold a ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

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
    """Return the parameters of a connection that its URL, the environment and a service of that do not set."""
    try:
        in_url = conninfo_to_dict(address.url)
    except psycopg.ProgrammingError:
        # Its words may quote a password: no traceback may have them.
        raise LedgerError(
            f"the URL of the ledger {address.name} is not one that libpq reads",
            hint="postgresql://user@host/database?sslmode=verify-full is one",
        ) from None
    # Bytes that are not UTF-8, as in a password, are for libpq.
    elsewhere = {
        option.keyword.decode(): option.val.decode(errors="replace") for option in Conninfo.get_defaults() if option.val
    }
    known = {**elsewhere, **in_url}
    parameters: dict[str, Any] = {
        # Of a service too, which psycopg does not look at.
        "connect_timeout": known.get("connect_timeout", CONNECT_S),
        "tcp_user_timeout": known.get("tcp_user_timeout", 10_000),
        "fallback_application_name": known.get("fallback_application_name", "llmroute"),
    }
    has_several = any("," in str(known.get(name, "")) for name in ("host", "hostaddr"))
    # libpq says "any" where nothing is set.
    if has_several and known.get("target_session_attrs", "any") == "any" and "target_session_attrs" not in in_url:
        parameters["target_session_attrs"] = "read-write"
    return parameters


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

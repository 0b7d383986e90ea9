"""Translate the errors of psycopg into LedgerError, by their SQLSTATE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from llmroute.errors import LedgerError
from llmroute.ledger.entries import OtherClockError, OutdatedCapsError

if TYPE_CHECKING:
    from llmroute.ledger_location import ServerAddress

HINT = "check LLMROUTE_LEDGER and the server with llmroute health"
_LOCKED = "55P03"
# A conflict with another statement: a retry may succeed.  A month that another one has just made is a duplicate table:
# the server looks it up in a cache, which it brings up to date with the next transaction.  A row for whose month there
# is no table violates a check: pruning has dropped the month, and the next transaction makes it again.
_AGAIN = ("40001", "40P01", "42P07", "23514")
_MISSING = ("3F000", "42P01", "42703", "42883")
# Connection lost, shutting down, too many connections, a standby that takes no writes.
_AWAY = ("08", "57P", "53300", "25006")
# The values of one row, which other rows do not share.
_OF_ONE_ROW = ("22", "23")


def is_missing(error: BaseException | None) -> bool:
    """Whether tables, columns or functions are not there yet."""
    return _code(error).startswith(_MISSING)


def is_transient(error: BaseException | None) -> bool:
    """Whether the same statement may succeed if it is sent again."""
    return _code(error) in _AGAIN


def is_of_one_row(error: BaseException | None) -> bool:
    """Whether an error is of the values of one row."""
    if isinstance(error, psycopg.Error):
        return _code(error).startswith(_OF_ONE_ROW) or (isinstance(error, psycopg.DataError) and not _code(error))
    return isinstance(error, UnicodeEncodeError | OverflowError)


def is_away(error: BaseException | None) -> bool:
    """Whether the server could not be reached."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _code(error).startswith(_AWAY)
    return not _code(error) or _code(error).startswith(_AWAY)


def require_client(oldest: int, version: int, address: ServerAddress) -> None:
    """Refuse a schema that is for newer clients only.

    Raises:
        LedgerError: this client is older than the oldest one.
    """
    if version < oldest:
        raise LedgerError(
            f"the ledger {address.name} is for clients of version {oldest} or newer,"
            f" and this llmroute is of version {version}",
            hint="update llmroute",
        )


def old_schema(version: int, wanted: int, address: ServerAddress) -> LedgerError:
    """Return the error of a command that needs tables of a newer schema, whose role may not create them."""
    return LedgerError(
        f"the schema of {address.name} has version {version}, and this command needs version {wanted}",
        hint="have its owner run: llmroute costs check",
    )


def without_data(address: ServerAddress) -> LedgerError:
    """Return the error of a schema without the rows that it was created with."""
    return LedgerError(
        f"the tables of {address.name} lack their first rows, as after a restore of the schema without its data",
        hint="restore the data too, or drop the schema: the next call creates an empty ledger",
    )


def outdated(address: ServerAddress) -> OutdatedCapsError:
    """Return the error of entries that were made under other caps."""
    return OutdatedCapsError(f"the caps of {address.name} changed", hint="run the command again")


def other_clock(address: ServerAddress) -> OtherClockError:
    """Return the error of entries that were made by another clock."""
    return OtherClockError(f"the clock of {address.name} is another", hint="run the command again")


def ledger_error(error: Exception, address: ServerAddress) -> LedgerError:
    """Return the error of a ledger; its message has the server's words, and no password."""
    if isinstance(error, UnicodeEncodeError | OverflowError) or is_of_one_row(error):
        found = LedgerError(f"the ledger {address.name} cannot hold this call: {_words(error)}")
    elif is_missing(error):
        found = LedgerError(f"there is no ledger in {address.name} yet, or a newer one: {_words(error)}", hint=HINT)
    else:
        verb = "reached" if is_away(error) else "used"
        found = LedgerError(f"the ledger {address.name} cannot be {verb}: {_words(error)}", hint=HINT)
    found.locked = _code(error) == _LOCKED
    found.__cause__ = error
    return found


def migration_error(error: psycopg.Error, address: ServerAddress) -> LedgerError:
    """Return the error of a migration, with the command for an administrator where the role lacks the right."""
    found = ledger_error(error, address)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        found.hint = (
            f'have an administrator run: CREATE SCHEMA "{address.schema}" AUTHORIZATION role_of_llmroute,'
            " or where the schema exists, its owner this command"
        )
    return found


def _code(error: BaseException | None) -> str:
    return (getattr(error, "sqlstate", None) or "") if isinstance(error, psycopg.Error) else ""


def _words(error: Exception) -> str:
    """Return the server's message without its hint; of several hosts, the last one."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    # libpq indents its advice; the server's follows the message.
    texts = (line for line in str(error).splitlines() if not line.startswith(("\t", "DETAIL:", "HINT:")))
    lines = [line.strip() for line in texts if line.strip()]
    # Other advice of libpq is a line of its own, after that of the connection.
    connections = [line for line in lines if "connection to server" in line]
    return (connections or lines or [type(error).__name__])[-1]

"""The status of a server."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from llmroute.ledger.maintenance import ServerStatus
from llmroute.ledger.postgres.store import PostgresLedger

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger_location import ServerAddress


def server_status(address: ServerAddress, path: Path) -> ServerStatus:
    """Ask the server; the login is not in the round trip.

    Raises:
        LedgerError: the server cannot be reached.
    """
    with closing(PostgresLedger(address, path)) as ledger:
        connection = ledger.connection
        connection.call("now_ms_1")
        before_s = time.monotonic()
        server_ms = connection.call("now_ms_1")
        round_trip_ms = (time.monotonic() - before_s) * 1000
        offset_ms = round(server_ms - time.time() * 1000 + round_trip_ms / 2)

        with connection.transaction(read_only=True) as db:
            row = db.execute(
                f"SELECT current_setting('server_version'), version FROM {connection.schema}.version".encode()  # noqa: S608
            ).fetchone()
    assert row is not None
    return ServerStatus(row[0].partition(" ")[0], round(round_trip_ms, 1), row[1], offset_ms)

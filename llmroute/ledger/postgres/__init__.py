"""The ledger on a PostgreSQL server, which many hosts share.  The only importer of psycopg.

Raises:
    ConfigError: on import: psycopg does not find libpq, or is too old.
"""

from __future__ import annotations

from llmroute.ledger_location import no_driver

try:
    # Psycopg has it since version 3.1.
    from psycopg import ClientCursor  # noqa: F401 (of its modules each imports what it needs)
except ImportError as error:
    raise no_driver(f"the driver of the PostgreSQL ledger cannot be loaded: {str(error).splitlines()[0]}") from error

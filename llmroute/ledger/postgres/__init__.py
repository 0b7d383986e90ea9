"""The ledger on a PostgreSQL server, which many hosts share.  The only importer of psycopg."""

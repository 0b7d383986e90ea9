"""Tables and functions of the ledger on PostgreSQL, and their migrations."""

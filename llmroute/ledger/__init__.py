"""The ledger: one row for each attempt, in one SQLite file.  The only package that imports sqlite3."""

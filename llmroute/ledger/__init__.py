"""The ledger: one honest row for each attempt, in one SQLite file.  The only package that imports sqlite3."""

"""The journal of batch jobs in SQLite."""

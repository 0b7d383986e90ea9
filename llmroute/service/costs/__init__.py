"""Cost reports, exports and maintenance of the ledger."""

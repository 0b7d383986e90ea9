"""Read-only queries of the ledger: reports, attempts, workspaces."""

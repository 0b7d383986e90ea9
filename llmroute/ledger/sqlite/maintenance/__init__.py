"""Create, check, repair, back up and prune a ledger."""

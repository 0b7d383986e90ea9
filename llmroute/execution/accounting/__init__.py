"""What an attempt may cost and did cost, and how it is written to the ledger."""

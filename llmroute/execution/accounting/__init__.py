"""The reservation and the cost of an attempt, and its writes to the ledger."""

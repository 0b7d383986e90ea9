"""Rebuild a ledger from the pages of a damaged file."""

"""Corrections, copies, checks and the deletion of old rows."""

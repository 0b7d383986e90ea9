"""The number of concurrent requests of a batch."""

CONCURRENCY = 8
"""The default."""
MOST_CONCURRENCY = 1024

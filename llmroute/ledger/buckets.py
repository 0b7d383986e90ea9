"""The buckets of time that attempts are summed by: quarters of an hour of UTC, counted from 1970.

Every time zone in use is a whole number of buckets away from UTC.
"""

from __future__ import annotations

BUCKET_MS = 900_000
BUCKETS_PER_DAY = 96
DAY_MS = BUCKET_MS * BUCKETS_PER_DAY
# A day that never comes, and whose buckets can still be counted in 64 bits.
NEVER_DAY = 2**62 // BUCKETS_PER_DAY


def whole_buckets_ms(at_ms: int) -> int:
    """Return when the bucket of a time begins."""
    return at_ms // BUCKET_MS * BUCKET_MS

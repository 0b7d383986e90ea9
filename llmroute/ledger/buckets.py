"""Time buckets of the sums: quarter-hours of UTC, counted from 1970.

Every time zone in use is a whole number of buckets away from UTC.
"""

from __future__ import annotations

BUCKET_MS = 900_000
BUCKETS_PER_DAY = 96
DAY_MS = BUCKET_MS * BUCKETS_PER_DAY
# Sentinel for "no complete day": later than any real day, with buckets that still fit 64 bits.  The schema stores it
# as 48038396025285290.
NEVER_DAY = 2**62 // BUCKETS_PER_DAY
# The end of a span without one: after any time that the ledger can hold, on the boundary of a day.
NO_END_MS = 2**63 // DAY_MS * DAY_MS


def bucket_start_ms(at_ms: int) -> int:
    """Return when the bucket of a time begins."""
    return at_ms // BUCKET_MS * BUCKET_MS

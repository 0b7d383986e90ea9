"""Which models in which order, and what to do when one fails.  Pure: no I/O and no clock."""

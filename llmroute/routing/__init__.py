"""The models of a request in their order, and the consequences of failures.  Pure: no I/O and no clock."""

"""Benches: what the program promises in figures, measured.  `python -m tests.bench` lists them."""

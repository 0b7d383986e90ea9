"""Benchmarks of llmroute against baselines.  `python -m tests.bench` lists them."""

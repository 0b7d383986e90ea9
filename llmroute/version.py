"""The version of llmroute."""

__version__ = "0.1.0"

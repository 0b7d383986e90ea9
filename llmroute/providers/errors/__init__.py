"""Error responses of providers, classified."""

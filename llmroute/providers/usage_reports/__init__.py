"""The cost and usage reports of providers, read with an admin key: requests rendered, pages parsed; no I/O."""

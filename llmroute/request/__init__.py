"""The fields of a request: one declaration that flags, library and batch lines derive from."""

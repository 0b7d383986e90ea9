"""Wire formats: requests rendered, responses and streams parsed.  No I/O."""

"""One request: prepared, attempted with retries and fallbacks, and recorded."""

"""Pure functions on text: redaction, token bounds, suggestions, encodings."""

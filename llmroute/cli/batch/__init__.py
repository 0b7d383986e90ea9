"""`gen --batch`: many requests from a file."""

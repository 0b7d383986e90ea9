"""Markdown rendered on a terminal while it arrives."""

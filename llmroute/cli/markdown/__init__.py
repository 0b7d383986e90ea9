"""Markdown, rendered on a terminal as it arrives."""

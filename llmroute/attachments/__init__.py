"""Attachments of a prompt: reading, types by content, dimensions and pages, limits of providers, tokens."""

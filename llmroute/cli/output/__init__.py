"""Output on stdout and stderr: answers, tables, charts, progress."""

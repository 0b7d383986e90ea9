"""What is written to stdout and stderr: answers, tables, charts, progress."""

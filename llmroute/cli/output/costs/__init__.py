"""Cost reports for terminals and for programs."""

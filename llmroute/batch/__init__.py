"""Many requests from a file: JSON lines, plain lines or CSV in, JSON lines out, resumed where they were broken off."""

"""`python -m llmroute`."""

from llmroute.cli import main

if __name__ == "__main__":
    main()

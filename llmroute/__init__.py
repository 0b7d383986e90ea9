"""Route prompts over OpenAI, Anthropic, Mistral, Ollama and Together, with fallback, budgets and an honest ledger."""

__version__ = "0.1.0"

"""The predefined fallback chains, as they are."""

from llmroute import FallbackChain

# High Quality
FallbackChain.HIGH_QUALITY = [
    ("openai", "gpt-4"),
    ("anthropic", "claude-3-opus"),
    ("mistral", "mistral-large"),
]

# Cost Optimized
FallbackChain.COST_OPTIMIZED = [
    ("openai", "gpt-3.5-turbo"),
    ("anthropic", "claude-3-haiku"),
    ("mistral", "mistral-tiny"),
    ("ollama", "mistral"),
]

# Fast Latency
FallbackChain.FAST_LATENCY = [
    ("openai", "gpt-3.5-turbo"),
    ("anthropic", "claude-3-haiku"),
    ("ollama", "mistral"),
]

# Local Only
FallbackChain.LOCAL_ONLY = [
    ("ollama", "mistral"),
    ("ollama", "llama2"),
    ("ollama", "codellama"),
]

# Code Generation
FallbackChain.CODE_GENERATION = [
    ("openai", "gpt-4"),
    ("anthropic", "claude-3-sonnet"),
    ("together", "codellama/CodeLlama-34b-Instruct-hf"),
    ("ollama", "codellama"),
]

print(FallbackChain.COST_OPTIMIZED)

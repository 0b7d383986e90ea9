"""Ask the catalogue what is known of models."""

from llmroute import ModelRegistry

# Get model configuration
config = ModelRegistry.get_model_config("openai", "gpt-4")
print(config.cost_per_1k_prompt)  # 0.03
print(config.max_tokens)  # 8192

# List all models
models = ModelRegistry.list_models()
# ["openai/gpt-4", "anthropic/claude-3-opus", ...]

# List models by provider
openai_models = ModelRegistry.list_models("openai")
# ["openai/gpt-4", "openai/gpt-3.5-turbo", ...]

# Find models by capability
code_models = ModelRegistry.find_models_by_capability("code")

# Find cheap models
cheap_models = ModelRegistry.find_models_by_capability("code", max_cost_per_1k=0.01)

# Get cheapest model
cheapest = ModelRegistry.get_cheapest_model(capability="code")

# Get fastest model
fastest = ModelRegistry.get_fastest_model(capability="code", max_cost_per_1k=0.05)

print(len(models), openai_models[:2])
print([model.name for model in cheap_models[:2]], len(code_models))
print(cheapest and cheapest.name, fastest and fastest.name)

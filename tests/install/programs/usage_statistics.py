"""Record a call that the program made by itself, and read the totals by model."""

from llmroute import get_llm_service

llm_service = get_llm_service()

# Track usage automatically
llm_service.router.track_usage(
    provider="openai",
    model="gpt-4",
    success=True,
    latency_ms=1200,
    cost_usd=0.05,
)

# Get usage stats
stats = llm_service.get_usage_stats()
# {
#   "openai/gpt-4": {
#     "total_calls": 150,
#     "successful_calls": 148,
#     "failed_calls": 2,
#     "total_latency_ms": 180000,
#     "total_cost_usd": 7.50
#   }
# }

# Get stats for specific provider
openai_stats = llm_service.get_usage_stats("openai")

print(stats)
print(openai_stats)
llm_service.close()

"""Ask which models would be tried, in which order."""

import asyncio

from llmroute import RoutingStrategy, get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Get fallback chain for specific requirements
        chain = await llm_service.router.get_fallback_chain(
            primary_provider="openai",
            primary_model="gpt-4",
            strategy=RoutingStrategy.COST_OPTIMIZED,
            required_capability="code",
        )

        # Returns: [("openai", "gpt-4"), ("anthropic", "claude-3-haiku"), ...]
        print(chain)


asyncio.run(main())

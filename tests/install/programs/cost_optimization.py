"""Spend less on simple tasks."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    budget = 0.01  # USD
    async with get_llm_service() as llm_service:
        # Use cheaper models for simple tasks
        response = await llm_service.generate(
            prompt="Summarize this text",
            provider="openai",
            model="gpt-3.5-turbo",  # Cheaper than GPT-4
        )

        # Enable cost-optimized routing
        response = await llm_service.generate(
            prompt="Simple analysis",
            budget_remaining=budget,
            task_type="analysis",
        )
        print(response.cost_usd)


asyncio.run(main())

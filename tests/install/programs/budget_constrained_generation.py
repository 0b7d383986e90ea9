"""Bound what one request may cost."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Stay within budget
        response = await llm_service.generate(
            prompt="Summarize this document",
            budget_remaining=0.50,  # $0.50 remaining
            task_type="analysis",
        )
        print(response.cost_usd)


asyncio.run(main())

"""Choose how much answers vary."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Deterministic (factual, consistent)
        response = await llm_service.generate(
            prompt="Calculate result",
            temperature=0.0,
        )

        # Creative (varied, diverse)
        response = await llm_service.generate(
            prompt="Write a story",
            temperature=0.9,
        )

        # Balanced (recommended)
        response = await llm_service.generate(
            prompt="General task",
            temperature=0.7,
        )
        print(response.content)


asyncio.run(main())

"""Take the best model for a critical task and a cheap one for many small tasks."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    bulk_items = ["Summarize the first page", "Summarize the second page"]
    async with get_llm_service() as llm_service:
        # High-quality for critical tasks
        response = await llm_service.generate(
            prompt="Complex architecture decision",
            provider="openai",
            model="gpt-4",  # Highest quality
            temperature=0.3,  # More deterministic
        )

        # Cost-effective for bulk operations
        for item in bulk_items:
            response = await llm_service.generate(
                prompt=item,
                provider="anthropic",
                model="claude-3-haiku",  # Cheap and fast
            )
            print(response.content)


asyncio.run(main())

"""Try other models when the first one fails."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Enable automatic fallback
        response = await llm_service.generate(
            prompt="Generate code",
            enable_fallback=True,  # Automatically try alternatives on failure
        )
        print([(attempt.model, attempt.status) for attempt in response.attempts])


asyncio.run(main())

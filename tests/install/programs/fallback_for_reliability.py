"""Let a critical request fall back to other models."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Always enable fallback for production
        response = await llm_service.generate(
            prompt="Critical operation",
            enable_fallback=True,
            task_type="code_generation",
        )
        print(response.provider, response.model)


asyncio.run(main())

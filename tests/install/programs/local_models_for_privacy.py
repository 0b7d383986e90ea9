"""Keep sensitive data on this machine."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Use local models for sensitive data
        response = await llm_service.generate(
            prompt="Analyze sensitive data",
            provider="ollama",
            model="mistral",  # No data leaves your server
        )
        print(response.provider, response.model)


asyncio.run(main())

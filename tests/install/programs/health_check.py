"""Check which providers answer."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Check provider health
        health = await llm_service.health_check()
        # {
        #   "openai": True,
        #   "anthropic": True,
        #   "mistral": False,
        #   "ollama": True
        # }
        print(health)


asyncio.run(main())

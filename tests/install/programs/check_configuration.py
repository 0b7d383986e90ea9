"""Check which providers are configured and which of them answer."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    llm_service = get_llm_service()

    # Check available providers
    print(llm_service.get_available_providers())

    # Health check
    health = await llm_service.health_check()
    print(health)

    await llm_service.aclose()


asyncio.run(main())

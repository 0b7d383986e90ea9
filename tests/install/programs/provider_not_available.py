"""Notice that a provider does not answer."""

import asyncio
import logging

from llmroute import get_llm_service

logger = logging.getLogger(__name__)


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Check health
        health = await llm_service.health_check()
        if not health.get("openai"):
            logger.error("OpenAI provider not available")
            # Use fallback


asyncio.run(main())

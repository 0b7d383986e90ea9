"""Handle a provider that asks to be called less often."""

import asyncio
import logging

from llmroute import RateLimitError, get_llm_service

logger = logging.getLogger(__name__)


async def main() -> None:
    async with get_llm_service() as llm_service:
        try:
            response = await llm_service.generate(prompt="...")
        except RateLimitError as e:
            logger.warning(f"Rate limited: {e}")
            # Automatic fallback will retry with different provider
        else:
            print(response.content)


asyncio.run(main())

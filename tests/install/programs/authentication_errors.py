"""Handle a key that is refused."""

import asyncio
import logging

from llmroute import AuthenticationError, get_llm_service

logger = logging.getLogger(__name__)


async def main() -> None:
    async with get_llm_service() as llm_service:
        try:
            response = await llm_service.generate(prompt="...")
        except AuthenticationError as e:
            logger.error(f"Authentication failed: {e}")
            # Check API keys in .env file
        else:
            print(response.content)


asyncio.run(main())

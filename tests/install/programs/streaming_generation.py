"""Print an answer piece by piece as it comes."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Stream responses in real-time
        async for chunk in llm_service.stream_generate(
            prompt="Write a long story",
            provider="openai",
            model="gpt-3.5-turbo",
        ):
            print(chunk, end="", flush=True)


asyncio.run(main())

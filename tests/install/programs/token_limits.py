"""Choose how long answers may be."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Short responses (faster, cheaper)
        response = await llm_service.generate(
            prompt="One sentence summary",
            max_tokens=50,
        )

        # Long responses
        response = await llm_service.generate(
            prompt="Detailed explanation",
            max_tokens=2000,
        )
        print(response.content)


asyncio.run(main())

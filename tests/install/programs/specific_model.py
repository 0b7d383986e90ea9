"""Answer a prompt with one model of one provider."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Use specific provider and model
        response = await llm_service.generate(
            prompt="Explain quantum computing",
            provider="anthropic",
            model="claude-3-opus",
            temperature=0.7,
        )
        print(response.provider, response.model)


asyncio.run(main())

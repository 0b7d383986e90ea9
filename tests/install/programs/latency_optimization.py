"""Answer sooner: a fast model, and streaming."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    sent: list[str] = []
    send_to_client = sent.append
    async with get_llm_service() as llm_service:
        # Use faster models for real-time applications
        response = await llm_service.generate(
            prompt="Quick question",
            provider="openai",
            model="gpt-3.5-turbo",  # Faster than GPT-4
        )

        # Use streaming for better UX
        async for chunk in llm_service.stream_generate(
            prompt="Generate report",
            provider="anthropic",
            model="claude-3-haiku",  # Fast model
        ):
            send_to_client(chunk)
        print(response.content, "".join(sent))


asyncio.run(main())

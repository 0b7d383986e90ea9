"""Choose the model by what the prompt is for and by what the model must be able to do."""

import asyncio

from llmroute import get_llm_service


async def main() -> None:
    async with get_llm_service() as llm_service:
        # Code generation (optimized for code capability)
        response = await llm_service.generate(
            prompt="Write a REST API endpoint",
            task_type="code_generation",
            required_capability="code",
            temperature=0.5,
        )

        # Analysis (optimized for reasoning)
        response = await llm_service.generate(
            prompt="Analyze this architecture",
            task_type="analysis",
            required_capability="reasoning",
        )
        print(response.provider, response.model)


asyncio.run(main())

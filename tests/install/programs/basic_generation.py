"""Answer a prompt, and print what it cost and how long it took."""

import asyncio
from pathlib import Path

from llmroute import Ledger, get_llm_service


async def main() -> None:
    with Ledger(Path("calls.db")) as db_session:
        # Get service instance
        llm_service = get_llm_service(db_session)

        # Generate text
        response = await llm_service.generate(
            prompt="Write a Python function to calculate fibonacci numbers",
            workspace_id="workspace-123",
            execution_id="exec-456",
            temperature=0.7,
            max_tokens=1000,
        )

        print(response.content)
        print(f"Cost: ${response.cost_usd:.4f}")
        print(f"Latency: {response.latency_ms}ms")
        await llm_service.aclose()


asyncio.run(main())

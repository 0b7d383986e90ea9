"""Read from the ledger what a workspace has spent."""

import asyncio

from llmroute import get_llm_tracker


async def main() -> None:
    db_session = "calls.db"  # the path of a ledger, or an open one

    tracker = get_llm_tracker(db_session)

    # Get workspace costs
    costs = await tracker.get_workspace_costs("workspace-123", period="month")
    # {
    #   "total_cost": 45.67,
    #   "total_tokens": 1500000,
    #   "call_count": 450,
    #   "by_model": [...]
    # }

    # Get daily costs
    daily = await tracker.get_daily_costs("workspace-123", days=30)

    print(costs["total_cost"], costs["total_tokens"], costs["call_count"])
    print([line["model"] for line in costs["by_model"]])
    print(len(daily), daily[-1]["total_cost"])


asyncio.run(main())

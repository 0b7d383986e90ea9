"""Repairs of a server beside other processes of the fleet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from llmroute.ledger.entries import Settled
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.statistics import merge
from llmroute.ledger.postgres.store import PostgresLedger
from tests.ledger.calls import row, settled, unique
from tests.ledger.stores import address, postgres, waiting_statements
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger_location import ServerAddress

__all__ = ["address", "postgres"]


def test_a_repair_and_a_merge_lock_sums_in_one_order(address: ServerAddress, tmp_path: Path) -> None:
    models = [f"m{number:02}" for number in range(30)]
    maintenance = ServerMaintenance(address, tmp_path / "host")
    with PostgresLedger(address, maintenance.path) as ledger:
        ledger.write([Settled(settled(row(unique(), model=model), 30)) for model in models])
        merge(ledger.connection)
    with psycopg.connect(address.url) as db:
        db.execute("UPDATE llmroute.days SET cost_picousd = cost_picousd + 1")
    with psycopg.connect(address.url) as merging, ThreadPoolExecutor() as threads:
        change = "UPDATE llmroute.days SET call_count = call_count WHERE model = %s"
        merging.execute(change, (models[0],))
        repairing = threads.submit(maintenance.repair, datetime.now(UTC))
        wait_until(lambda: waiting_statements(address))
        for model in models[1:]:
            merging.execute(change, (model,))
        merging.commit()
        assert repairing.result().after.sound

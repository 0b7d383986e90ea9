"""Batch jobs whose ledger is on a PostgreSQL server: any host goes on with them, and each line is paid once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import LLMService
from llmroute.errors import RequestError
from llmroute.jobs import lease
from llmroute.jobs.lease import RunLease
from llmroute.jobs.run_settings import RunSettings
from tests.jobs.homes import Home
from tests.ledger.stores import postgres
from tests.support.batch_vendor import MODELS, TOGETHER_CONFIG
from tests.support.shell import run

if TYPE_CHECKING:
    from llmroute.jobs.context import JobContext
    from tests.support.postgres_server import PostgresServer

__all__ = ["postgres"]

PROMPTS = [f"prompt {n}" for n in range(8)]
SETTINGS = RunSettings(output="/out")


class Fleet(Home):
    """Hosts with one ledger on a server, and one folder for input and output."""

    def on_server(self, server: PostgresServer) -> None:
        self._server, self._url = server, server.database()
        self.settings["LLMROUTE_LEDGER"] = self._url

    def on_another_host(self) -> None:
        """Go on without what is beside the ledger, and take jobs and leases for those of another host."""
        folder = self.folder / "other host"
        folder.mkdir()
        (folder / "config.toml").write_text(TOGETHER_CONFIG)
        self.settings["LLMROUTE_CONFIG_DIR"] = str(folder)
        self.change("UPDATE llmroute.jobs SET host = 'first'")
        self.change("UPDATE llmroute.job_leases SET owner = '1  first'")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self._server.execute(
            sql.replace("FROM ", "FROM llmroute.").replace("ifnull", "coalesce"), self._database
        )

    def change(self, sql: str) -> None:
        self._server.execute(sql, self._database)

    @property
    def _database(self) -> str:
        return self._url.rpartition("/")[2]

    def told(self, *arguments: str) -> Any:
        ran = run(*arguments, "--json", home=self.folder, **self.settings)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
def fleet(home: Home, postgres: PostgresServer) -> Fleet:
    fleet = Fleet(home.folder, home.vendor, home.server)
    fleet.on_server(postgres)
    return fleet


def test_lines_of_four_vendors_are_answered_and_billed_on_a_server(fleet: Fleet) -> None:
    fleet.write(PROMPTS)
    ran = fleet.run("--budget", "1")
    assert ran.code == 0, ran.err
    fleet.assert_all_answered_once(PROMPTS)
    listed = fleet.told("batches")
    assert sorted(job["provider"] for job in listed) == sorted(MODELS)
    assert all(job["done"] == 2 and job["cost_usd"] > 0 == job["reserved_usd"] for job in listed)
    assert fleet.told("batches", "show", listed[0]["job"]) == listed[0]
    assert fleet.told("costs", "--by", "tier")["groups"][0]["call_count"] == len(PROMPTS)
    assert run("costs", "check", home=fleet.folder, **fleet.settings).code == 0


def test_another_host_collects_the_results_of_jobs(fleet: Fleet) -> None:
    fleet.write(PROMPTS)
    assert fleet.run("--no-wait").code == 0
    fleet.on_another_host()
    refused = fleet.run()
    assert (refused.code, "has batch jobs that are not collected" in refused.err) == (2, True)
    ran = fleet.run("--resume")
    assert ran.code == 0, ran.err
    fleet.assert_all_answered_once(PROMPTS)


def test_results_that_another_host_has_are_not_paid_for_again(fleet: Fleet) -> None:
    fleet.write(PROMPTS)
    assert fleet.run().code == 0
    bill_picousd = fleet.vendor.bill_picousd
    fleet.on_another_host()
    output = fleet.folder / "out.jsonl"
    results = output.read_bytes()
    output.unlink()
    refused = fleet.run("--resume")
    assert (refused.code, f"are in {output} on first" in refused.err) == (2, True), refused.err
    assert fleet.vendor.bill_picousd == bill_picousd
    output.write_bytes(results)
    assert fleet.run("--resume").code == 0
    assert fleet.vendor.bill_picousd == bill_picousd
    output.unlink()
    assert fleet.run().code == 0
    assert fleet.vendor.bill_picousd == 2 * bill_picousd


def test_a_host_that_resumes_has_the_results(fleet: Fleet) -> None:
    fleet.write(PROMPTS)
    assert fleet.run("--no-wait").code == 0
    fleet.on_another_host()
    assert fleet.run("--resume").code == 0
    assert "first" not in {host for (host,) in fleet.query("SELECT host FROM jobs")}


def test_the_output_of_another_host_may_have_the_same_path(fleet: Fleet) -> None:
    fleet.write(PROMPTS)
    assert fleet.run("--no-wait").code == 0
    fleet.on_another_host()
    fleet.write(["other", "prompts"])
    assert fleet.run().code == 0
    assert [result["content"] for result in fleet.results()] == ["answer\u2028other", "answer\u2028prompts"]


def test_another_host_submits_lines_whose_job_was_not_created(fleet: Fleet) -> None:
    fleet.write(PROMPTS[:4], [MODELS["anthropic"]])
    assert fleet.run("--no-wait").code == 0
    # As if the first host had been killed before it sent the creation.
    fleet.vendor.jobs.clear()
    fleet.change("UPDATE llmroute.jobs SET phase = 'submitting', vendor_id = NULL, create_begun_ms = NULL")
    fleet.on_another_host()
    ran = fleet.run("--resume")
    assert ran.code == 0, ran.err
    fleet.assert_all_answered_once(PROMPTS[:4])


class _Lease(RunLease):
    """The lease of a process elsewhere."""

    def __init__(self, tools: JobContext) -> None:
        super().__init__(tools, SETTINGS, lambda: None)
        self._owner = "1  elsewhere"


@pytest.mark.parametrize(
    "taken",
    [
        "UPDATE llmroute.job_leases SET owner = '1  elsewhere', until_ms = until_ms + 60000",
        # The other process has ended since.
        "DELETE FROM llmroute.job_leases",
    ],
)
def test_one_process_works_on_a_run_until_its_lease_has_ended(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    for name, value in fleet.settings.items():
        monkeypatch.setenv(name, value)

    async def work() -> None:
        lost = asyncio.Event()
        async with LLMService() as service:
            tools = service.core.job_context()
            own, other = RunLease(tools, SETTINGS, lost.set), _Lease(tools)
            await other.take()
            for name in ("LEASE_S", "_RENEW_S", "_LOOK_AGAIN_S"):
                monkeypatch.setattr(lease, name, 0.05)
            with pytest.raises(RequestError, match="another process on elsewhere works on the batch jobs of /out"):
                await own.take()
            await other.end()
            await own.take()
            await own.confirm()
            fleet.change(taken)
            with pytest.raises(RequestError, match="works on the batch jobs"):
                await own.confirm()
            await lost.wait()
            with pytest.raises(RequestError, match="works on the batch jobs"):
                own.require()
            await own.end()

    asyncio.run(work())


def test_a_job_is_cancelled_from_another_host(fleet: Fleet) -> None:
    fleet.vendor.stalls = True
    fleet.write(PROMPTS[:3], [MODELS["openai"]])
    assert fleet.run("--no-wait").code == 0
    fleet.on_another_host()
    fleet.vendor.runs_at_most = 1
    (job,) = fleet.told("batches")
    cancelled = run("batches", "cancel", job["job"], "--yes", home=fleet.folder, **fleet.settings)
    assert cancelled.code == 0, cancelled.err
    (after,) = fleet.told("batches")
    assert (after["status"], after["done"], after["reserved_usd"]) == ("cancelled", 1, 0)
    assert fleet.billed() == fleet.vendor.bill_picousd > 0


def test_a_shared_cap_binds_lines_of_jobs(fleet: Fleet) -> None:
    set_cap = run("costs", "budget", "set", "--month", "0.0002", home=fleet.folder, **fleet.settings)
    assert set_cap.code == 0, set_cap.err
    fleet.write(PROMPTS, [MODELS["openai"]])
    ran = fleet.run()
    assert ran.code == 5, ran.err
    reserved = fleet.query("SELECT sum(reserved_picousd) FROM attempts")
    assert 0 < reserved[0][0] <= 200_000_000

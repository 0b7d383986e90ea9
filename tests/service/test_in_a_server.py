"""The library in a long-lived program: many requests, loops, threads and forked workers."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import DeadlineError, LLMRouteError
from llmroute.execution.concurrency import threads
from tests.bench import server as bench_server
from tests.support.fault_server import Pause, Received, Script, reply, serving
from tests.support.provider_servers import OPENAI, House, delta, openai_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.service.client import LLMService
    from tests.support.fault_server import FaultServer

BOUNDED_S = 120.0


def echo(received: Received) -> Script:
    """Answer with the last word of the prompt."""
    return [openai_answer(json.loads(received.body)["messages"][-1]["content"])]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(echo) as server:
        yield server


async def ask_many(service: LLMService, name: str, count: int) -> None:
    """Ask so many things at once; each answer must be that of its own prompt."""
    prompts = [f"{name}-{number}" for number in range(count)]
    answers = await asyncio.gather(*(service.generate(prompt, model=OPENAI) for prompt in prompts))
    assert [answer.content for answer in answers] == prompts


def test_one_service_serves_one_loop_after_another(server: FaultServer, tmp_path: Path) -> None:
    service = House(tmp_path, openai=server).service()
    for number in range(3):
        asyncio.run(ask_many(service, f"loop{number}", 5))
    asyncio.run(service.aclose())
    gc.collect()


def test_one_service_serves_many_loops_in_threads_at_once(server: FaultServer, tmp_path: Path) -> None:
    house = House(tmp_path, openai=server)
    service = house.service()
    failures: list[BaseException] = []

    async def main(number: int) -> None:
        async with asyncio.timeout(BOUNDED_S):
            await ask_many(service, f"thread{number}", 20)
        await service.aclose()

    def work(number: int) -> None:
        try:
            asyncio.run(main(number))
        except BaseException as error:  # noqa: BLE001 (told below)
            failures.append(error)

    started = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(BOUNDED_S)
    assert failures == []
    assert {status for (status,) in house.rows("status")} == {"ok"}
    assert len(house.rows()) == 160


def test_blocking_calls_are_answered_in_threads_and_beside_a_loop(server: FaultServer, tmp_path: Path) -> None:
    service = House(tmp_path, openai=server).service()

    async def main() -> list[str]:
        blocking = [asyncio.to_thread(service.generate_sync, f"sync-{n}", model=OPENAI) for n in range(8)]
        answers, _ = await asyncio.gather(asyncio.gather(*blocking), ask_many(service, "async", 8))
        await service.aclose()
        return [answer.content for answer in answers]

    assert asyncio.run(main()) == [f"sync-{number}" for number in range(8)]


def in_child(service: LLMService, number: int) -> None:
    for turn in range(3):
        prompt = f"child{number}-{turn}"
        answer = service.generate_sync(prompt, model=OPENAI)
        assert answer.content == prompt
    asyncio.run(ask_many(service, f"child{number}", 10))
    # What the parent has open is not this process's to close.
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that it is so is what is tested
def test_forked_workers_open_connections_of_their_own_and_get_their_own_answers(
    server: FaultServer, tmp_path: Path
) -> None:
    house = House(tmp_path, openai=server)
    service = house.service()
    service.generate_sync("before", model=OPENAI)
    asyncio.run(ask_many(service, "before", 5))
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=in_child, args=(service, number)) for number in range(4)]
    for child in children:
        child.start()
    for turn in range(10):
        assert service.generate_sync(f"parent-{turn}", model=OPENAI).content == f"parent-{turn}"
    for child in children:
        child.join(BOUNDED_S)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    asyncio.run(service.aclose())
    assert len(house.rows()) == 6 + 10 + 4 * 13
    assert {status for (status,) in house.rows("status")} == {"ok"}


def test_a_local_server_that_hangs_does_not_slow_down_calls_to_a_provider_that_is_named(
    server: FaultServer, tmp_path: Path
) -> None:
    with serving([Pause(60)]) as ollama:
        service = House(tmp_path, openai=server).service(OLLAMA_BASE_URL=ollama.url)

        async def main() -> None:
            async with service:
                await ask_many(service, "named", 50)
                assert service.generate_sync("blocking", model=OPENAI).content == "blocking"
                assert service.generate_sync("provider", provider="openai").content == "provider"

        asyncio.run(main())
        assert ollama.received == []


def test_the_local_server_is_asked_once_for_requests_that_it_might_answer(server: FaultServer, tmp_path: Path) -> None:
    tags = json.dumps({"models": []}).encode()
    with serving([reply(200, tags)]) as ollama:
        service = House(tmp_path, openai=server).service(OLLAMA_BASE_URL=ollama.url)

        async def main() -> None:
            async with service:
                await asyncio.gather(*(service.generate(f"{n}", strategy="cost_optimized") for n in range(30)))

        asyncio.run(main())
        assert len(ollama.received) == 1


def test_the_local_server_is_asked_when_the_named_model_has_failed(tmp_path: Path) -> None:
    tags = json.dumps({"models": [{"name": "house:latest", "model": "house:latest"}]}).encode()
    answer = json.dumps(
        {"model": "house", "message": {"role": "assistant", "content": "local"}, "done": True, "done_reason": "stop"}
    ).encode()

    def local(received: Received) -> Script:
        return [reply(200, tags if received.path.endswith("/tags") else b"{}" if "show" in received.path else answer)]

    with serving([reply(401, b"{}")]) as cloud, serving(local) as ollama:
        house = House(tmp_path, openai=cloud)
        service = house.service(OLLAMA_BASE_URL=ollama.url)
        assert service.generate_sync("x", model=OPENAI).content == "local"
        service.close()
        assert ollama.received[0].path == "/api/tags"


def test_the_deadline_covers_planning(tmp_path: Path) -> None:
    with serving([Pause(60)]) as ollama:
        service = House(tmp_path).service(OLLAMA_BASE_URL=ollama.url)

        async def main() -> None:
            async with service:
                await service.generate("x", strategy="local_first", timeout_s=0.1)

        with pytest.raises(DeadlineError):
            asyncio.run(main())


def test_a_client_that_leaves_in_mid_stream_has_its_attempt_settled(tmp_path: Path) -> None:
    from tests.support.fault_server import chunked_head

    with serving([chunked_head(), delta("Half"), Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()

        async def leave() -> None:
            stream = service.stream_generate("x", model=OPENAI)
            async for _ in stream:
                break
            await stream.aclose()

        async def main() -> None:
            async with service:
                await asyncio.gather(*(leave() for _ in range(20)))

        asyncio.run(main())
        with service.stream_sync("x", model=OPENAI) as stream:
            assert next(stream) == "Half"
        service.close()
        assert server.wait_until_idle()
    assert [status for (status,) in house.rows("status")] == ["interrupted"] * 21


def resources() -> tuple[int, int, int]:
    """Return how many descriptors and threads this process has, and how many bytes of memory are resident."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), pages * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")
def test_thousands_of_requests_leave_no_descriptor_thread_or_memory_behind(tmp_path: Path) -> None:
    at_once = 50

    async def rounds(service: LLMService, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(service.generate("x", model="openai/gpt-4o") for _ in range(at_once)))

    async def main(**settings: str) -> tuple[tuple[int, int, int], ...]:
        at_first = resources()
        async with House(tmp_path).service(**settings) as service:
            await rounds(service, 20)
            gc.collect()
            before = resources()
            await rounds(service, 30)
            gc.collect()
            return at_first, before, resources()

    with bench_server.serving() as settings:
        at_first, before, after = asyncio.run(main(**settings))
    # How many connections and threads are kept depends on how many requests of a round ever were under way together.
    assert after[0] <= at_first[0] + at_once + 10
    assert after[1] <= at_first[1] + threads.MOST_THREADS + 2
    assert after[2] < before[2] + 3 * 2**20


def test_a_first_address_that_swallows_connections_does_not_keep_the_second_from_being_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(echo) as server, socket.socket() as silent:
        silent.bind(("127.0.0.2", server.port))
        silent.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.settimeout(0)
            one.connect_ex(silent.getsockname())
        look_up = socket.getaddrinfo

        def two(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host not in ("localhost", b"localhost"):
                return look_up(host, port, *rest, **more)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, server.port))
                for address in ("127.0.0.2", "127.0.0.1")
            ]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        server.url = f"http://localhost:{server.port}"
        service = House(tmp_path, openai=server).service()

        async def main() -> str:
            async with service:
                return (await service.generate("second", model=OPENAI, timeout_s=BOUNDED_S)).content

        try:
            assert asyncio.run(main()) == "second"
        finally:
            for one in crowd:
                one.close()


def test_an_error_of_a_request_reaches_its_caller_alone(tmp_path: Path) -> None:
    def answer(received: Received) -> Script:
        return [reply(400, b"{}")] if b"bad" in received.body else echo(received)

    with serving(answer) as server:
        service = House(tmp_path, openai=server).service()

        async def main() -> list[Any]:
            async with service:
                asked = [service.generate(f"{'bad' if n % 2 else 'good'}-{n}", model=OPENAI) for n in range(10)]
                return await asyncio.gather(*asked, return_exceptions=True)

        found = asyncio.run(main())
    assert all(isinstance(one, LLMRouteError) for one in found[1::2])
    assert [one.content for one in found[::2]] == [f"good-{n}" for n in range(0, 10, 2)]


def test_many_requests_may_be_asked_for_before_a_loop_runs(server: FaultServer, tmp_path: Path) -> None:
    service = House(tmp_path, openai=server).service()
    results = service.generate_many([{"prompt": f"many-{number}", "model": OPENAI} for number in range(5)], jobs=2)

    async def main() -> list[str]:
        async with service:
            return [result.response.content async for result in results if result.response is not None]

    assert asyncio.run(main()) == [f"many-{number}" for number in range(5)]

"""A program's own clients of httpx carry the traffic of its service, within our rules on keys, time and redirects."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import ssl
import subprocess
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadRequestError,
    DeadlineError,
    LLMRouteError,
    NoCandidateError,
    ProviderTimeoutError,
    RateLimitError,
    RequestError,
    UnreachableError,
)
from llmroute.service.factory import get_llm_service
from llmroute.service.models.live_models import live
from llmroute.service.models.pull import pull, to_pull
from tests.support.background import serve_in_background
from tests.support.fault_server import Pause, chunked_head, closed_port, serving
from tests.support.provider_servers import (
    ANTHROPIC,
    KEY,
    OPENAI,
    House,
    anthropic_answer,
    delta,
    openai_answer,
    openai_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from llmroute.service.client import LLMService
    from llmroute.types import LLMResponse

BOUNDED_S = 30.0
REMOTE = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://models.example/v1"}


def body_of(whole: bytes) -> bytes:
    return whole.partition(b"\r\n\r\n")[2]


ANSWER = body_of(openai_answer("Hello!"))
STREAM = b"".join(
    f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n".encode() for text in "abc"
)


@dataclass
class Way:
    """Asks through the caller's client, by blocking or by awaiting, and leaves it open."""

    awaiting: bool
    house: House
    settings: dict[str, str] = field(default_factory=lambda: dict(REMOTE))
    options: dict[str, Any] = field(default_factory=dict)

    def hook(self, do: Callable[[Any], Any], *, read: bool = False) -> Callable[[Any], Any]:
        """Return a hook of the kind that the client takes; one that reads the body does so before `do`."""

        def blocking(told: Any) -> None:
            if read:
                told.read()
            do(told)

        async def awaiting(told: Any) -> None:
            if read:
                await told.aread()
            do(told)

        return awaiting if self.awaiting else blocking

    def ask(self, *, streaming: bool = False, times: int = 1, **client: Any) -> tuple[list[str], LLMResponse]:
        """Ask so many times through one client, and return what came of the last."""
        work = self._awaiting if self.awaiting else self._blocking
        return work(streaming, times, client)

    def _asked(self) -> dict[str, Any]:
        return {"prompt": "Say hello.", "model": OPENAI, "enable_fallback": False, "timeout_s": 5.0} | self.options

    def _blocking(self, streaming: bool, times: int, made: dict[str, Any]) -> tuple[list[str], LLMResponse]:
        with httpx.Client(**made) as client:
            service = self.house.service({"http_client": client}, **self.settings)
            try:
                for _ in range(times):
                    pieces, response = self._one(service, streaming=streaming)
            finally:
                service.close()
                assert not client.is_closed
        return pieces, response

    def _one(self, service: LLMService, *, streaming: bool) -> tuple[list[str], LLMResponse]:
        if not streaming:
            return [], service.generate_sync(**self._asked())
        stream = service.stream_sync(**self._asked())
        return list(stream), stream.response

    def _awaiting(self, streaming: bool, times: int, made: dict[str, Any]) -> tuple[list[str], LLMResponse]:
        async def main() -> tuple[list[str], LLMResponse]:
            async with httpx.AsyncClient(**made) as client:
                service = self.house.service({"async_http_client": client}, **self.settings)
                try:
                    for _ in range(times):
                        pieces: list[str] = []
                        if streaming:
                            stream = service.stream_generate(**self._asked())
                            pieces = [piece async for piece in stream]
                            response = stream.response
                        else:
                            response = await service.generate(**self._asked())
                finally:
                    await service.aclose()
                    assert not client.is_closed
                return pieces, response

        return asyncio.run(main())


@pytest.fixture(params=[False, True], ids=["blocking", "awaiting"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    return Way(request.param, House(tmp_path))


@dataclass
class Answering:
    """A transport's handler that gives every request the same answer and keeps what was sent."""

    status: int = 200
    body: bytes = ANSWER
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    sent: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return httpx.Response(self.status, content=self.body, headers=self.headers)


def test_a_transport_of_the_callers_answers(way: Way) -> None:
    handler = Answering()
    _, response = way.ask(transport=httpx.MockTransport(handler))
    assert response.content == "Hello!"
    [request] = handler.sent
    assert str(request.url) == "https://models.example/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content)["messages"][-1]["content"] == "Say hello."
    assert [row[1:4] for row in way.house.rows()] == [("ok", None, 200)]


def test_a_transport_of_the_callers_streams(way: Way) -> None:
    handler = Answering(body=STREAM + b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"})
    pieces, response = way.ask(streaming=True, transport=httpx.MockTransport(handler))
    assert (pieces, response.content) == (["a", "b", "c"], "abc")


def test_hooks_see_each_request_with_what_was_added_and_each_answer(way: Way) -> None:
    seen: list[Any] = []

    def tag(request: httpx.Request) -> None:
        request.headers["traceparent"] = "00-abc"

    handler = Answering()
    hooks = {"request": [way.hook(tag)], "response": [way.hook(lambda told: seen.append(told.status_code))]}
    way.ask(times=2, transport=httpx.MockTransport(handler), event_hooks=hooks)
    assert [request.headers["traceparent"] for request in handler.sent] == ["00-abc"] * 2
    assert seen == [200, 200]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hook_may_read_the_body_and_the_connection_serves_the_next_request(way: Way, streaming: bool) -> None:
    seen: list[bytes] = []
    hooks = {"response": [way.hook(lambda told: seen.append(told.content), read=True)]}
    with serving(openai_stream("a", "b") if streaming else [openai_answer("ab")]) as server:
        way.settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        _, response = way.ask(streaming=streaming, times=3, event_hooks=hooks)
        assert server.connections == 1
    assert response.content == "ab"
    assert len(seen) == 3
    assert b"a" in seen[0]


@pytest.mark.parametrize("read", [False, True])
def test_a_hook_may_raise_for_an_error_status_which_is_told_as_what_it_is(way: Way, read: bool) -> None:
    hooks = {"response": [way.hook(lambda told: told.raise_for_status(), read=read)]}
    handler = Answering(429, b'{"error": {"message": "slow down"}}', {"retry-after": "40"})
    with pytest.raises(RateLimitError) as caught:
        way.ask(transport=httpx.MockTransport(handler), event_hooks=hooks)
    assert caught.value.retry_after_s == pytest.approx(40, abs=1)
    assert [row[2:4] for row in way.house.rows()] == [("rate_limit", 429)]
    with serving([b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}"]) as server:
        way.settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        with pytest.raises(AuthenticationError):
            way.ask(event_hooks=hooks)


def test_an_error_of_the_callers_own_code_reaches_it_and_the_attempt_is_settled(way: Way) -> None:
    def fail(_told: object) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        way.ask(transport=httpx.MockTransport(Answering()), event_hooks={"response": [way.hook(fail)]})
    assert way.house.rows("status") == [("interrupted",)]


def test_context_variables_of_the_caller_are_seen_in_its_hooks(way: Way) -> None:
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []
    reset = trace.set("mine")
    hooks = {"request": [way.hook(lambda _told: seen.append(trace.get()))]}
    way.ask(transport=httpx.MockTransport(Answering()), event_hooks=hooks)
    trace.reset(reset)
    assert seen == ["mine"]


def test_default_headers_are_sent_but_the_key_and_what_the_provider_needs_are_ours(way: Way) -> None:
    handler = Answering()
    headers = {
        "x-team": "a",
        "user-agent": "app/1",
        "authorization": "Bearer other",
        "content-type": "x",
        "accept-encoding": "br",
    }
    way.ask(transport=httpx.MockTransport(handler), headers=headers, base_url="https://other.example", auth=("u", "p"))
    sent = handler.sent[0].headers
    assert (sent["x-team"], sent["user-agent"], sent["authorization"]) == ("a", "app/1", f"Bearer {KEY}")
    assert (sent["content-type"], sent["accept-encoding"]) == ("application/json", "identity")
    assert handler.sent[0].url.host == "models.example"


def test_a_client_without_a_name_of_its_own_sends_ours(way: Way) -> None:
    handler = Answering()
    way.ask(transport=httpx.MockTransport(handler))
    assert handler.sent[0].headers["user-agent"].startswith("llmroute/")


def test_redirects_are_not_followed_whatever_the_client_does(way: Way) -> None:
    handler = Answering(307, headers={"location": "https://elsewhere.example/", "set-cookie": "a=b"})
    with pytest.raises(UnreachableError) as caught:
        way.ask(transport=httpx.MockTransport(handler), follow_redirects=True)
    assert "redirect" in str(caught.value.hint)
    assert [request.url.host for request in handler.sent] == ["models.example"]


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (OSError("boom"), UnreachableError),
        (ConnectionResetError("gone"), UnreachableError),
        (httpx.ConnectError("refused"), UnreachableError),
        (httpx.RemoteProtocolError("no HTTP"), UnreachableError),
        (httpx.ProxyError("407"), UnreachableError),
        (httpx.ConnectTimeout("slow"), ProviderTimeoutError),
        (httpx.PoolTimeout("full"), ProviderTimeoutError),
        (TimeoutError(), ProviderTimeoutError),
        (httpx.LocalProtocolError("no header"), BadRequestError),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_what_a_transport_raises_has_its_class(way: Way, raised: Exception, error: type[AttemptError]) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(LLMRouteError) as caught:
        way.ask(transport=httpx.MockTransport(fail))
    assert {each.error for each in caught.value.attempts} == {error.kind}
    assert {row[2] for row in way.house.rows()} == {error.kind}


def test_another_provider_stands_in_through_the_same_client(way: Way) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "models.example":
            raise OSError("boom")
        return httpx.Response(200, content=body_of(anthropic_answer()))

    way.settings |= {"ANTHROPIC_API_KEY": KEY}
    way.options = {"enable_fallback": True, "fallback": (ANTHROPIC,)}
    assert way.ask(transport=httpx.MockTransport(answer))[1].content == "Bonjour!"


def test_the_deadline_holds_for_a_transport_that_sleeps(way: Way) -> None:
    awake = threading.Event()

    def sleep(_request: httpx.Request) -> httpx.Response:
        awake.wait(60)
        return httpx.Response(500)

    async def sleep_awaiting(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(500)

    way.options = {"timeout_s": 0.5}
    started = time.monotonic()
    try:
        with pytest.raises(DeadlineError):
            way.ask(transport=httpx.MockTransport(sleep_awaiting if way.awaiting else sleep))
        assert time.monotonic() - started < BOUNDED_S
    finally:
        awake.set()


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream whose text never ends; `closed` tells when it is no longer read."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.002)
            yield STREAM

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.002)
            yield STREAM

    def close(self) -> None:
        self.closed.set()

    async def aclose(self) -> None:
        self.closed.set()


def test_a_stream_that_its_reader_leaves_is_closed_also_where_there_is_no_connection(tmp_path: Path) -> None:
    house = House(tmp_path)
    streams: list[Endless] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        streams.append(Endless())
        return httpx.Response(200, stream=streams[-1])

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            service = house.service({"async_http_client": client}, **REMOTE)
            stream = service.stream_generate("x", model=OPENAI)
            assert await anext(aiter(stream)) == "a"
            await stream.aclose()
            assert streams[-1].closed.is_set()
            await service.aclose()

    asyncio.run(main())
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        service = house.service({"http_client": client}, **REMOTE)
        pieces = service.stream_sync("x", model=OPENAI)
        assert next(iter(pieces)) == "a"
        pieces.close()
        assert streams[-1].closed.wait(BOUNDED_S)
        service.close()
    assert house.rows("status") == [("interrupted",)] * 2


def test_a_client_serves_on_after_a_stream_was_left_and_after_the_service_is_closed(tmp_path: Path) -> None:
    house = House(tmp_path)

    async def main(url: str) -> None:
        async with httpx.AsyncClient() as client:
            service = house.service({"async_http_client": client}, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url)
            stream = service.stream_generate("x", model=OPENAI)
            assert await anext(aiter(stream)) == "Half"
            await stream.aclose()
            await service.aclose()
            assert not client.is_closed

    with serving([chunked_head(), delta("Half"), Pause(60)]) as server:
        asyncio.run(main(server.url))
        with httpx.Client() as client:
            service = house.service({"http_client": client}, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
            with serving([openai_answer()]) as other:
                stream = service.stream_sync("x", model=OPENAI)
                assert next(iter(stream)) == "Half"
                stream.close()
                assert server.wait_until_idle()
                service.close()
                assert client.get(other.url).json()["choices"]
                again = house.service({"http_client": client}, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=other.url)
                assert again.generate_sync("x", model=OPENAI).content == "Hello!"
                again.close()


def test_many_at_once_go_through_the_client(tmp_path: Path) -> None:
    handler = Answering()

    async def main() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            service = House(tmp_path).service({"async_http_client": client}, **REMOTE)
            requests = [{"prompt": f"{number}", "model": OPENAI} for number in range(30)]
            told = [one async for one in service.generate_many(requests, jobs=10)]
            await service.aclose()
        return [one.response.content for one in told if one.response]

    assert asyncio.run(main()) == ["Hello!"] * 30
    assert len(handler.sent) == 30


def test_the_usual_way_to_a_service_takes_the_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Answering()
    for name, value in (House(tmp_path).environ | REMOTE).items():
        monkeypatch.setenv(name, value)

    async def main() -> str:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client,
            get_llm_service(async_http_client=client) as service,
        ):
            return (await service.generate("x", model=OPENAI)).content

    assert asyncio.run(main()) == "Hello!"
    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        service = get_llm_service(http_client=client)
        assert service.generate_sync("x", model=OPENAI).content == "Hello!"
        service.close()
    assert len(handler.sent) == 2


def test_a_client_of_another_kind_is_refused_when_it_is_given(tmp_path: Path) -> None:
    wrong: Any = httpx.AsyncClient()
    with pytest.raises(RequestError, match=r"AsyncClient, where httpx\.Client is needed"):
        House(tmp_path).service({"http_client": wrong})
    blocking: Any = httpx.Client()
    with pytest.raises(RequestError, match=r"Client, where httpx\.AsyncClient is needed"):
        House(tmp_path).service({"async_http_client": blocking})


def test_a_client_that_was_closed_is_told(tmp_path: Path) -> None:
    client = httpx.Client()
    client.close()
    service = House(tmp_path).service({"http_client": client}, **REMOTE)
    with pytest.raises(BadRequestError, match="is closed"):
        service.generate_sync("x", model=OPENAI)
    service.close()


def in_child(service: LLMService) -> None:
    try:
        service.generate_sync("x", model=OPENAI)
    except BadRequestError as error:
        os._exit(0 if "forked" in error.message else 3)
    os._exit(4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_use_the_connections_of_its_parents_client(tmp_path: Path) -> None:
    with serving([openai_answer()]) as server, httpx.Client() as client:
        service = House(tmp_path, openai=server).service({"http_client": client})
        service.generate_sync("x", model=OPENAI)
        child = multiprocessing.get_context("fork").Process(target=in_child, args=(service,))
        child.start()
        child.join(BOUNDED_S)
        assert child.exitcode == 0
        assert service.generate_sync("x", model=OPENAI).content == "Hello!"
        service.close()


def test_a_proxy_of_the_client_is_used(way: Way) -> None:
    way.settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"http://127.0.0.1:{closed_port()}"}
    with serving([openai_answer()]) as proxy:
        assert way.ask(proxy=proxy.url)[1].content == "Hello!"
        assert proxy.received[0].line.startswith("POST http://127.0.0.1:")


def test_a_proxy_sees_no_key_that_goes_to_https(way: Way) -> None:
    with serving([b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n"]) as proxy:
        with pytest.raises(AttemptError) as caught:
            way.ask(proxy=proxy.url)
        assert {each.error for each in caught.value.attempts} == {"unreachable"}
        assert {sent.line for sent in proxy.received} == {"CONNECT models.example:443 HTTP/1.1"}
        assert KEY not in repr(proxy.received)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_key_for_this_machine_never_goes_through_a_proxy_on_another(way: Way, scheme: str) -> None:
    with serving([openai_answer()]) as server:
        way.settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        with pytest.raises(AttemptError) as caught:
            way.ask(proxy=f"{scheme}://proxy.example:3128")
        assert "proxy on another machine" in str(caught.value)
        assert server.received == []
        mounts: dict[str, Any] = {"all://127.0.0.1": None}
        assert way.ask(proxy="http://proxy.example:3128", mounts=mounts)[1].content == "Hello!"


def test_a_key_never_goes_over_plain_http_to_another_machine(way: Way) -> None:
    handler = Answering()
    way.settings["OPENAI_BASE_URL"] = "http://models.example/v1"
    with pytest.raises(NoCandidateError, match="plain http"):
        way.ask(transport=httpx.MockTransport(handler))
    assert handler.sent == []


CERTIFICATE = """[req]
distinguished_name = name
x509_extensions = usage
prompt = no
[name]
CN = localhost
[usage]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
subjectAltName = IP:127.0.0.1
"""


class Over(BaseHTTPRequestHandler):
    """Answers over TLS."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_args: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """A server that does not tell of the clients that refuse its certificate."""

    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificates_are_the_clients(way: Way, tmp_path: Path) -> None:
    (tmp_path / "request.cnf").write_text(CERTIFICATE)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", "request.cnf"]
    subprocess.run(
        [*made, "-keyout", "key.pem", "-out", "own.pem"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    with Quiet(("127.0.0.1", 0), Over) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serve_in_background(server)
        way.settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"https://127.0.0.1:{server.server_port}"}
        own = ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
        assert way.ask(verify=own)[1].content == "Hello!"
        with pytest.raises(AttemptError) as caught:
            way.ask()
        assert {each.error for each in caught.value.attempts} == {"unreachable"}
        server.shutdown()


class Everywhere:
    """A transport's handler that answers as every provider would, and keeps which host was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.host, request.url.path))
        match request.url.path.rpartition("/")[2]:
            case "models":
                return httpx.Response(200, json={"data": [{"id": "a"}]})
            case "tags":
                return httpx.Response(200, json={"models": [{"name": "mine:latest", "model": "mine:latest"}]})
            case "pull":
                return httpx.Response(200, text='{"status": "success"}\n')
        return httpx.Response(200, content=ANSWER)


@pytest.mark.parametrize("given", ["http_client", "async_http_client"])
def test_health_is_asked_through_the_client_that_was_given(tmp_path: Path, given: str) -> None:
    handler = Everywhere()
    transport = httpx.MockTransport(handler)

    async def main() -> dict[str, bool]:
        async with httpx.AsyncClient(transport=transport) as awaiting:
            with httpx.Client(transport=transport) as blocking:
                clients: dict[str, Any] = {given: blocking if given == "http_client" else awaiting}
                service = House(tmp_path).service(clients, **REMOTE)
                told = await service.health_check()
                await service.aclose()
                assert [awaiting.is_closed, blocking.is_closed] == [False, False]
        return told

    told = asyncio.run(main())
    assert (told["openai"], told["ollama"]) == (True, True)
    assert {("models.example", "/v1/models"), ("127.0.0.1", "/api/tags")} == set(handler.asked)


def test_an_awaited_plan_asks_the_local_server_through_the_only_client_that_was_given(tmp_path: Path) -> None:
    handler = Everywhere()

    async def main() -> LLMResponse:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            service = House(tmp_path).service({"async_http_client": client}, **REMOTE)
            try:
                return await service.generate("x", prefer_local=True)
            finally:
                await service.aclose()

    asyncio.run(main())
    assert handler.asked[0] == ("127.0.0.1", "/api/tags")


def test_lists_and_pulls_go_through_the_client_and_leave_it_open(tmp_path: Path) -> None:
    handler = Everywhere()
    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        service = House(tmp_path).service({"http_client": client}, **REMOTE)
        assert {"openai", "ollama"} <= set(service.get_available_providers())
        assert {"openai/a", "ollama/mine"} <= {
            one.model.name.removesuffix(":latest") for one in live(service.core).models
        }
        list(pull(service.core, to_pull(service.core, "mine")))
        service.close()
        assert not client.is_closed
        another = House(tmp_path).service({"http_client": client}, **REMOTE)
        assert another.generate_sync("x", model=OPENAI).content == "Hello!"
        another.close()
    assert ("127.0.0.1", "/api/pull") in handler.asked

"""What is called this machine's own is connected to this machine, past resolvers and proxies."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from llmroute.errors import BadRequestError, UnreachableError
from llmroute.transport.network import loopback
from tests.support.fault_server import reply, serving
from tests.transport.test_senders import (
    FETCHES,
    Fetch,
    fetch_awaiting,
    fetch_blocking,
    fetch_by_the_callers_async_client,
    fetch_by_the_callers_client,
)

OWN: dict[str, Fetch] = {"blocking": fetch_blocking, "awaiting": fetch_awaiting}
CALLERS: dict[str, Fetch] = {"blocking": fetch_by_the_callers_client, "awaiting": fetch_by_the_callers_async_client}


@pytest.mark.parametrize("name", OWN)
def test_localhost_is_connected_to_this_machine_whatever_a_resolver_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def lies(host: Any, *rest: Any, **more: Any) -> Any:
        if host in ("localhost", b"localhost"):
            raise socket.gaierror(-2, "Name or service not known")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lies)
    with serving([reply(200, b"here")]) as server:
        assert OWN[name](f"http://LocalHost:{server.port}/v1")[2] == b"here"
        assert server.received[0].headers["host"] == f"localhost:{server.port}"


@pytest.mark.parametrize("name", OWN)
def test_localhost_is_found_where_only_ipv6_listens(name: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        thread = threading.Thread(target=_answer_once, args=(listener,), daemon=True)
        thread.start()
        assert OWN[name](f"http://localhost:{listener.getsockname()[1]}")[2] == b"here"
        thread.join(5)


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(reply(200, b"here"))


@pytest.mark.parametrize("name", CALLERS)
def test_a_callers_client_sends_nothing_where_localhost_is_another_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "is_loopback_host", lambda _host: False)
    with serving([reply(200)]) as server:
        with pytest.raises(UnreachableError, match="another machine"):
            CALLERS[name](f"http://localhost:{server.port}")
        assert server.received == []
        assert server.wait_until_idle()


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_proxy_that_the_environment_names_sees_nothing_for_this_machine(
    name: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([reply(200)]) as proxy, serving([reply(200)]) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(UnreachableError, match="through a proxy"):
            CALLERS[name](f"http://{host}:{server.port}")
        assert (proxy.received, server.received) == ([], [])
        monkeypatch.setenv("no_proxy", host)
        assert CALLERS[name](f"http://{host}:{server.port}")[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.010", "127.300.0.1", "127.0.0.256", "0x7f.1", "2130706433", "127.1"])
@pytest.mark.parametrize("name", FETCHES)
def test_what_only_looks_like_this_machine_is_treated_as_another(
    name: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may get it, as it gets every other machine's traffic; no key and no private prompt is ever sent there."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch = FETCHES[name]
    with serving([reply(200)]) as server, serving([reply(418)]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with suppress(BadRequestError):  # httpx takes some of them for no address at all
            assert fetch(f"http://{host}:{server.port}")[0] == 418
        assert server.received == []

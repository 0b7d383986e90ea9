"""The certificates that are trusted, and the proxies that are used."""

from __future__ import annotations

import socket
import ssl
import sys
from base64 import b64encode
from pathlib import Path

import certifi
import pytest

from llmroute.errors import LLMRouteError, UnreachableError
from llmroute.transport import certificates, client_pool
from llmroute.transport.client import Sender
from tests.support.fault_server import closed_port, reply, serving
from tests.transport.test_senders import WAIT_S, Fetch, fetch_awaiting, fetch_blocking, request

BUNDLE = Path(certifi.where())


@pytest.fixture(params=[fetch_blocking, fetch_awaiting], ids=["blocking", "awaiting"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    chosen: Fetch = request.param
    return chosen


@pytest.fixture(autouse=True)
def no_certificates_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_certificates_are_loaded_once_for_every_https_address_and_never_for_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    create = certificates.tls_context

    def counted() -> ssl.SSLContext:
        made.append(1)
        return create()

    monkeypatch.setattr(client_pool, "tls_context", counted)
    sender = Sender()
    with serving([reply()]) as server:
        sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S).close()
        assert made == []
        for _ in range(2):
            with pytest.raises(LLMRouteError):
                sender.open(request(f"https://127.0.0.1:{closed_port()}"), connect_s=WAIT_S, answer_s=WAIT_S)
    sender.close()
    assert made == [1]


def one_certificate(folder: Path) -> Path:
    """Write a bundle of one certificate."""
    path = folder / "one.pem"
    path.write_text(BUNDLE.read_text(encoding="utf-8").partition("END CERTIFICATE-----")[0] + "END CERTIFICATE-----\n")
    return path


def test_what_the_environment_names_is_trusted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate(tmp_path)))
    assert len(certificates.tls_context().get_ca_certs()) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert certificates.tls_context().get_ca_certs() == []


def test_certificates_that_the_environment_names_and_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(UnreachableError, match="No such file"):
        Sender().open(request(f"https://127.0.0.1:{closed_port()}"), connect_s=WAIT_S, answer_s=WAIT_S)


def test_a_system_without_certificates_has_those_of_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = ssl.get_default_verify_paths()._replace(cafile="", capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(certificates, "_BUNDLES", (str(tmp_path / "none.pem"),))
    asked = []

    def where() -> str:
        asked.append(1)
        return str(one_certificate(tmp_path))

    monkeypatch.setattr(certifi, "where", where)
    certificates.tls_context()
    assert asked == [1]
    (tmp_path / "0123abcd.0").write_text("")
    certificates.tls_context()
    assert asked == [1], "the system has certificates now"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the system itself verifies")
def test_the_certificates_of_the_system_are_read_before_the_first_connection_and_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = ssl.get_default_verify_paths()._replace(cafile="", capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(certificates, "_BUNDLES", (str(one_certificate(tmp_path)),))
    context = certificates.tls_context()
    for _ in range(2):
        assert context.cert_store_stats()["x509_ca"] == 1
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="models.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9"])
def test_a_proxy_is_never_used_for_this_machine(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with serving([reply(418)]) as proxy, serving([reply(200)]) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("all_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        try:
            assert fetch(f"http://{host}:{server.port}")[0] == 200
        except UnreachableError:
            assert host == "127.9.9.9", "the server listens at 127.0.0.1 alone"
        assert proxy.received == []


def test_a_proxy_is_used_for_others_unless_no_proxy_names_them(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving([reply(200, b"via proxy")]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert fetch("http://models.example/v1")[2] == b"via proxy"
        assert proxy.received[0].line.startswith("POST http://models.example/v1 ")
        monkeypatch.setenv("no_proxy", "models.example")
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(UnreachableError):
            fetch("http://models.example/v1")
        assert len(proxy.received) == 1


def test_the_name_and_password_of_a_proxy_reach_it_and_the_name_of_the_host_is_the_providers(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with serving([reply(200, b"via proxy")]) as proxy:
        for named in (f"127.0.0.1:{proxy.port}", f"http://us%40er:geheim@127.0.0.1:{proxy.port}/"):
            monkeypatch.setenv("http_proxy", named)
            assert fetch("http://models.example:8080/v1;x=1?y=2")[2] == b"via proxy"
        plain, known = proxy.received
    assert known.line == "POST http://models.example:8080/v1;x=1?y=2 HTTP/1.1"
    assert known.headers["host"] == "models.example:8080"
    assert "proxy-authorization" not in plain.headers
    assert known.headers["proxy-authorization"] == "Basic " + b64encode(b"us@er:geheim").decode()


@pytest.mark.parametrize("proxy", ["gopher://user:geheim@127.0.0.1:1", "socks5://user:geheim@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(UnreachableError, match="proxy") as caught:
        fetch("http://models.example/v1")
    assert "geheim" not in str(caught.value) + str(caught.value.hint)

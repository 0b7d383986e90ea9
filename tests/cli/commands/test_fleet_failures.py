"""A server that refuses, is full, too old or too new: one line and an exit code, and no answer is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from llmroute import exit_codes
from llmroute.ledger.postgres.connecting import OLDEST_SERVER
from tests.ledger.stores import postgres
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.postgres_server import NOBODY, PostgresServer, system_binaries
from tests.support.postgres_tap import PostgresTap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.local_server import Handler

__all__ = ["postgres"]

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE disk_full USING MESSAGE = 'could not extend file "base/1/2": No space left on device'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON llmroute.attempts FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def host(url: str, tmp_path: Path, models: ModelServer) -> Host:
    """A host that has reached its server."""
    host = Host(tmp_path, url, models)
    assert host.gen().code == 0
    return host


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


def check_nothing_is_lost(host: Host, models: ModelServer, reason: str, **settings: str) -> None:
    """An answer is printed and its row waits where no cap binds; nothing is sent under one."""
    answered = host.run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", **settings)
    assert (answered.code, answered.out) == (0, "one two three\n"), answered.err
    [warning] = answered.err.splitlines()
    assert "this call is not in the ledger yet" in warning
    assert reason in warning
    host.cap_itself(5)
    asked = len(models.requests)
    refused = host.refused_line("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", code=exit_codes.BUDGET, **settings)
    assert reason in refused
    assert "nothing was sent" in refused
    assert len(models.requests) == asked


def test_a_refused_password_is_a_server_that_is_away(host: Host, models: ModelServer) -> None:
    with PostgresServer() as server:
        server.require_password("guarded", "s3cret")
        named = server.url(database_of(server.database()), "guarded")
        known = {"LLMROUTE_LEDGER": named, "PGPASSWORD": "s3cret"}
        assert host.run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", **known).code == 0
        wrong = {"LLMROUTE_LEDGER": named, "PGPASSWORD": "wr0ng"}
        assert "password authentication failed" in host.refused_line("costs", code=exit_codes.SETUP, **wrong)
        check_nothing_is_lost(host, models, "password authentication failed", **wrong)
        told = host.run("costs", "--period", "all", "--json", **known)
        assert '"call_count": 2' in told.out
        in_url = {"LLMROUTE_LEDGER": named.replace("guarded@", "guarded:wr0ng@")}
        assert "wr0ng" not in host.refused_line("costs", code=exit_codes.SETUP, **in_url)


def test_a_passfile_holds_the_password(host: Host) -> None:
    with PostgresServer() as server:
        server.require_password("guarded", "s3cret")
        passfile = host.home / ".pgpass"
        passfile.write_text(f"127.0.0.1:{server.port}:*:guarded:s3cret\n")
        passfile.chmod(0o600)
        named = server.url(database_of(server.database()), "guarded")
        settings = {"LLMROUTE_LEDGER": named, "PGPASSFILE": str(passfile)}
        assert host.run("costs", **settings).code == 0
        service = host.home / "service"
        service.write_text(f"[fleet]\nhost=127.0.0.1\nport={server.port}\nuser=postgres\ndbname=postgres\n")
        by_service = {"LLMROUTE_LEDGER": "postgresql://?service=fleet", "PGSERVICEFILE": str(service)}
        assert host.run("costs", **by_service).code == 0


def test_a_full_disk_of_the_server(host: Host, url: str, postgres: PostgresServer, models: ModelServer) -> None:
    postgres.execute(FULL, database_of(url))
    check_nothing_is_lost(host, models, "No space left on device")
    for report in (("costs", "--json"), ("costs", "calls"), ("costs", "export", "-")):
        ran = host.run(*report)
        assert ran.code == 0
        assert "they are not counted here" in ran.err
    postgres.execute("DROP TRIGGER full_disk ON llmroute.attempts", database_of(url))
    assert host.calls() == 2
    assert host.run("costs").err == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
def test_a_file_system_of_the_server_that_is_full(host: Host, models: ModelServer) -> None:
    folder = Path(tempfile.mkdtemp(prefix="llmroute-pg-full-"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        os.chown(folder, NOBODY, NOBODY)
        with PostgresServer() as server:
            server.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            server.execute("CREATE DATABASE small TABLESPACE small")
            settings = {"LLMROUTE_LEDGER": server.url("small")}
            assert host.run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", **settings).code == 0
            with closing(psycopg.connect(server.url("small"), autocommit=True)) as db:
                db.execute("CREATE TABLE ballast (block text STORAGE PLAIN)")
                for blocks in (256, 16, 1):
                    fill(db, blocks)
            settle_until_full(host, settings)
            check_nothing_is_lost(host, models, "No space left on device", **settings)
    finally:
        subprocess.run(["umount", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def fill(db: psycopg.Connection, blocks: int) -> None:
    """Add so many blocks again and again, until they do not fit."""
    with suppress(psycopg.errors.DiskFull):
        while True:
            db.execute("INSERT INTO ballast SELECT repeat('x', 8000) FROM generate_series(1, %s)", (blocks,))


def settle_until_full(host: Host, settings: dict[str, str]) -> None:
    """Fill the pages that the tables have."""
    for _ in range(200):
        if host.run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", **settings).err:
            return
    pytest.fail("the disk is never full")


class StoppingServer(ModelServer):
    """Stops the server of the ledger while it is asked."""

    stopped: PostgresServer | None = None

    def answer(self, handler: Handler, body: dict[str, Any]) -> None:
        if self.stopped is not None:
            self.stopped.signal_all(signal.SIGSTOP)
        super().answer(handler, body)


def test_a_server_that_is_stopped_while_a_provider_answers(tmp_path: Path) -> None:
    with PostgresServer() as server, StoppingServer() as models:
        host = Host(tmp_path, server.database(), models)
        assert host.gen().code == 0
        models.stopped = server
        try:
            answered = host.gen()
        finally:
            models.stopped = None
            server.signal_all(signal.SIGCONT)
        assert (answered.code, answered.out) == (0, "one two three\n")
        [warning] = answered.err.splitlines()
        assert "this call is not in the ledger yet" in warning
        assert "the server does not answer" in warning
        assert host.calls() == 2


def test_a_role_without_rights(
    host: Host, url: str, postgres: PostgresServer, models: ModelServer, tmp_path: Path
) -> None:
    role = f"stranger_{database_of(url)}"
    postgres.execute(f"CREATE ROLE {role} LOGIN")
    stranger = {"LLMROUTE_LEDGER": postgres.url(database_of(url), role)}
    assert "permission denied" in host.refused_line("costs", code=exit_codes.SETUP, **stranger)
    check_nothing_is_lost(host, models, "permission denied", **stranger)
    newcomer = Host(tmp_path / "newcomer", stranger["LLMROUTE_LEDGER"], models)
    told = newcomer.refused_line("gen", "hi", "-m", "openai/gpt-4o", code=exit_codes.BUDGET)
    assert "this host never reached it; nothing was sent" in told
    assert "permission denied for schema llmroute" in told


def test_a_role_that_may_not_create_the_schema(postgres: PostgresServer, tmp_path: Path, models: ModelServer) -> None:
    database = database_of(postgres.database())
    postgres.execute(f"CREATE ROLE plain_{database} LOGIN")
    host = Host(tmp_path, postgres.url(database, f"plain_{database}"), models)
    for line in (
        host.refused_line("costs", code=exit_codes.SETUP),
        host.refused_line("gen", "hi", "-m", "openai/gpt-4o", code=exit_codes.BUDGET),
    ):
        assert "permission denied" in line
        assert 'CREATE SCHEMA "llmroute" AUTHORIZATION' in line


@pytest.mark.parametrize("gone", [False, True])
def test_a_schema_for_newer_clients_only(
    gone: bool, host: Host, url: str, postgres: PostgresServer, models: ModelServer
) -> None:
    postgres.execute("UPDATE llmroute.version SET version = 99", database_of(url))
    assert host.gen().err == ""
    postgres.execute("UPDATE llmroute.version SET oldest_client = 98", database_of(url))
    if gone:
        postgres.execute("DROP FUNCTION llmroute.recall_1, llmroute.write_1", database_of(url))
    line = host.refused_line("costs", code=exit_codes.SETUP)
    assert "is for clients of version 98 or newer" in line
    assert "update llmroute" in line
    check_nothing_is_lost(host, models, "98 or newer")


def test_a_server_older_than_the_oldest_supported_one(
    host: Host, url: str, postgres: PostgresServer, models: ModelServer
) -> None:
    [(version,)] = postgres.execute("SHOW server_version_num")
    says, older = (f"server_version\0{major}".encode() for major in (int(version) // 10_000, OLDEST_SERVER - 1))
    with PostgresTap(postgres.port, (says, older)) as tap:
        settings = {"LLMROUTE_LEDGER": tap.url(url)}
        reason = f"needs PostgreSQL {OLDEST_SERVER} or newer; the server is {OLDEST_SERVER - 1}"
        assert reason in host.refused_line("costs", code=exit_codes.SETUP, **settings)
        shutil.copy(*caps_files(host, settings["LLMROUTE_LEDGER"]))
        check_nothing_is_lost(host, models, reason, **settings)


def caps_files(host: Host, url: str) -> tuple[Path, Path]:
    """Return the caps that the host has seen, and where those of another URL are."""
    from llmroute.ledger_location import server_location

    [known] = (host.home / "llmroute").glob("server-*.caps")
    other = server_location(url, None, host.home / "llmroute", "LLMROUTE_LEDGER").path
    return known, other.with_name(f"{other.name}.caps")


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A folder with certificates for localhost and for another host, each signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = Path(tempfile.mkdtemp(prefix="llmroute-pg-tls-"))
    folder.chmod(0o755)
    for name in ("localhost", "elsewhere.example"):
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
            check=True,
            capture_output=True,
        )
        if os.getuid() == 0:
            os.chown(folder / f"{name}.key", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(system_binaries() is None, reason="no PostgreSQL of the system, whose build has TLS")
def test_tls_with_a_verified_certificate(certificates: Path, tmp_path: Path, models: ModelServer) -> None:
    def tls(name: str) -> dict[str, str]:
        return {
            "ssl": "on",
            "ssl_cert_file": f"{certificates}/{name}.crt",
            "ssl_key_file": f"{certificates}/{name}.key",
        }

    def verified(server: PostgresServer, trusted: str) -> str:
        return (
            f"postgresql://postgres@localhost:{server.port}/{database}"
            f"?sslmode=verify-full&sslrootcert={certificates}/{trusted}.crt"
        )

    with PostgresServer(system_binaries(), **tls("localhost")) as server:
        database = database_of(server.database())
        host = Host(tmp_path, verified(server, "localhost"), models)
        assert host.gen().err == ""
        assert host.calls() == 1
        stranger = {"LLMROUTE_LEDGER": verified(server, "elsewhere.example")}
        assert "certificate verify failed" in host.refused_line("costs", code=exit_codes.SETUP, **stranger)
    with PostgresServer(system_binaries(), **tls("elsewhere.example")) as server:
        database = database_of(server.database())
        other = {"LLMROUTE_LEDGER": verified(server, "elsewhere.example")}
        line = host.refused_line("costs", code=exit_codes.SETUP, **other)
        assert 'does not match host name "localhost"' in line


def test_a_shared_cap_in_a_zone_that_is_unknown_here(
    host: Host, url: str, postgres: PostgresServer, models: ModelServer
) -> None:
    assert host.run("costs", "budget", "set", "--day", "5", "--zone", "Europe/Berlin").code == 0
    postgres.execute("UPDATE llmroute.caps SET zone = 'Mars/Olympus'", database_of(url))
    asked = len(models.requests)
    told = host.refused_line("gen", "hi", "-m", "openai/gpt-4o", code=exit_codes.BUDGET)
    assert "the time zone Mars/Olympus, unknown here; nothing was sent (install tzdata)" in told
    assert len(models.requests) == asked
    assert host.calls() == 1

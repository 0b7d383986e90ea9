"""What is not UTF-8 is refused before anything is sent, or read as its owner says; nothing is altered silently."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.model_server import ModelServer
from tests.support.shell import LLMROUTE, Ran, environment, run

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def gen(home: Path, server: ModelServer, *arguments: str | bytes, stdin: bytes = b"") -> Ran:
    done = subprocess.run(
        [*LLMROUTE, "gen", "-m", "openai/gpt-4o", *arguments],
        env=environment(home, **server.settings),
        cwd=home,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def prompts(server: ModelServer) -> list[str]:
    return [request["messages"][-1]["content"] for request in server.requests]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (PNG, "stdin is not"),
        (b"\0", "zero bytes"),
        (b"caf\xe9", "stdin is not UTF-8: byte 0xe9"),
        ("caf\xe9".encode("utf-16"), "--encoding utf-16 reads it"),
    ],
)
def test_stdin_that_is_not_utf_8_is_refused(data: bytes, told: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        ran = gen(tmp_path, server, stdin=data)
        assert (ran.code, ran.out, server.requests) == (2, "", [])
        assert told in ran.err
        assert ran.err.count("\n") == 1


def test_text_is_read_as_its_owner_says(tmp_path: Path) -> None:
    with ModelServer() as server:
        for data, encoding in (
            (b"caf\xe9", "latin-1"),
            ("caf\xe9".encode("utf-16"), "UTF-16"),
            (b"\xef\xbb\xbfcaf\xc3\xa9", "utf-8"),
        ):
            assert gen(tmp_path, server, "--encoding", encoding, stdin=data).code == 0
        assert gen(tmp_path, server, b"caf\xe9", "--encoding", "latin-1").code == 0
        assert prompts(server) == ["caf\xe9"] * 4


@pytest.mark.parametrize("name", ["klingon", "base64", "hex", "rot13", "idna\0"[:4] + "x"])
def test_an_encoding_that_is_none_of_text_is_refused(name: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        ran = gen(tmp_path, server, "hi", "--encoding", name)
        assert (ran.code, server.requests) == (2, [])
        assert f"--encoding: '{name}' is no encoding of text" in ran.err


@pytest.mark.parametrize("flag", ["-s", "--stop"])
def test_bytes_of_the_command_line_are_not_altered(flag: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        for arguments in ((b"caf\xe9",), ("hi", flag, b"caf\xe9")):
            ran = gen(tmp_path, server, *arguments)
            assert (ran.code, server.requests) == (2, [])
            assert "is not UTF-8: byte 0xe9" in ran.err


def test_a_short_form_and_the_name_of_an_attachment_are_read_as_utf_8_in_any_locale(tmp_path: Path) -> None:
    (tmp_path / "é.txt").write_text("text")
    posix = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with ModelServer() as server:
        run(
            "gen",
            "hi",
            "-m",
            "openai/gpt-4o",
            "-a",
            "é.txt",
            "--schema",
            "a: naïve",
            home=tmp_path,
            **posix,
            **server.settings,
        )
        sent = json.dumps(server.requests[0], ensure_ascii=False)
    assert "naïve" in sent
    assert "é.txt" in sent


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"one\ntwo\ncaf\xe9\n", "in.txt: line 3 is not UTF-8: byte 0xe9"),
        (b"one\n" + PNG, "in.txt: line 2 is not UTF-8"),
        (b"one\n\0\n", "in.txt is not text"),
        ("one\n".encode("utf-16"), "--encoding utf-16 reads it"),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_before_any_line_is_sent(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(data)
    with ModelServer() as server:
        ran = gen(tmp_path, server, "--batch", "in.txt", "--lines", "-o", "out")
        assert (ran.code, server.requests) == (2, [])
        assert told in ran.err


def test_a_tab_stands_between_the_cells_of_a_tsv_and_another_delimiter_where_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "in.TSV").write_bytes("id\ttext\n1\tcaf\xe9, one\n".encode("cp1252"))
    (tmp_path / "in.csv").write_text("id;text\n1;two, three\n2;cut; short\n")
    with ModelServer() as server:
        assert gen(tmp_path, server, "--batch", "in.TSV", "--column", "text", "--encoding", "cp1252").code == 0
        ran = gen(tmp_path, server, "--batch", "in.csv", "--column", "text", "--delimiter", ";")
        assert ran.code != 0
        assert "line 3: the row has 3 cells, the header has 2" in ran.err
        assert prompts(server) == ["caf\xe9, one", "two, three"]
        ran = gen(tmp_path, server, "--batch", "in.csv", "--column", "prompt")
        assert ran.code == 2
        assert "in.csv: the file has no column 'prompt'" in ran.err
        for wrong in (("--delimiter", ";;"), ("--delimiter", '"'), ("--delimiter", "")):
            assert gen(tmp_path, server, "--batch", "in.csv", "--column", "text", *wrong).code == 2
        assert gen(tmp_path, server, "--batch", "in.csv", "--delimiter", ";").code == 2
        assert gen(tmp_path, server, "hi", "--delimiter", ";").code == 2
        assert len(server.requests) == 2

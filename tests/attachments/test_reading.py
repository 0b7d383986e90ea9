"""Attachments are read whole or refused in one line, whatever stands behind the name."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.attachments import reading
from llmroute.attachments.reading import read_all
from llmroute.errors import RequestError
from llmroute.types import Attachment
from tests.support.attached_files import pdf, png

if TYPE_CHECKING:
    from pathlib import Path


def test_paths_bytes_urls_and_attachments_are_read(tmp_path: Path) -> None:
    file = tmp_path / "scan.dat"
    file.write_bytes(pdf(3))
    own = Attachment(data=png(5, 6), name="mine")
    found = read_all([file, str(file), png(), bytearray(png()), "https://a.example/b.png", own], None)
    facts = [one.facts for one in found]
    assert [(one.name, one.media_type) for one in facts] == [
        ("scan.dat", "application/pdf"),
        ("scan.dat", "application/pdf"),
        ("attachment 3", "image/png"),
        ("attachment 4", "image/png"),
        ("https://a.example/b.png", "image/png"),
        ("mine", "image/png"),
    ]
    assert (facts[0].pages, facts[5].width, facts[5].height) == (3, 5, 6)
    assert (facts[4].size_bytes, facts[4].url) == (None, True)
    assert read_all(found, None)[0] is found[0], "read once"


def test_an_own_type_of_an_attachment_comes_before_that_of_all() -> None:
    mine, other = read_all([Attachment(data=b"a,b", media_type="text/csv"), b"c"], "text/markdown")
    assert (mine.facts.media_type, other.facts.media_type) == ("text/csv", "text/markdown")


def refused(source: Any) -> str:
    with pytest.raises(RequestError) as caught:
        read_all([source], None)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value.message


def test_what_is_not_a_readable_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.png").endswith("none.png cannot be attached: there is no such file")
    assert refused("") == "attachment 1 cannot be attached: its path is empty"
    assert refused(tmp_path).endswith("it is a directory")
    assert refused("/dev/zero") == "/dev/zero cannot be attached: it is not a file"
    assert refused(tmp_path / "a\0b").endswith("embedded null byte")
    assert refused(tmp_path / ("a" * 300)).endswith("File name too long")
    empty = tmp_path / "empty"
    empty.touch()
    assert refused(empty) == "empty cannot be attached: it is empty"
    assert refused(b"") == "attachment 1 cannot be attached: it is empty"
    assert refused(Attachment()).endswith("has either data or a URL")
    wrong: dict[str, Any]
    for wrong in ({"data": "abc"}, {"url": 3}, {"data": b"a", "media_type": 3}, {"data": b"a", "name": b"a"}):
        assert f"its {list(wrong)[-1]} is of type" in refused(Attachment(**wrong))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic links" in refused(loop)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(png())
    file.chmod(0)
    assert refused(file).endswith("Permission denied")


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 2 * 2**20)
    file = tmp_path / "sparse"
    with file.open("wb") as sparse:
        sparse.truncate(2**40)
    assert refused(file).endswith("it is larger than 2 MiB")
    assert refused(bytes(2 * 2**20 + 1)).endswith("it is larger than 2 MiB")
    monkeypatch.setattr(reading, "MOST_TOTAL_BYTES", 100)
    with pytest.raises(RequestError, match="all attachments together"):
        read_all([png(), png(), png()], None)


def write_to(pipe: Path, pieces: list[bytes], done: threading.Event) -> threading.Thread:
    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            try:
                for piece in pieces:
                    file.write(piece)
            except BrokenPipeError:
                return
            done.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    done = threading.Event()
    done.set()
    thread = write_to(pipe, [b"caf", "é".encode()], done)
    (found,) = read_all([pipe], None)
    thread.join()
    os.close(reader)
    assert found.data == "café".encode()


def test_a_pipe_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SILENCE_S", 0.05)
    monkeypatch.setattr(reading, "MOST_BYTES", 2**20)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refused(pipe).endswith("it is empty"), "no writer"
    for pieces, problem in (
        ([b"a"], "a pipe that has sent nothing for 0 s"),
        ([bytes(2**20)] * 3, "larger than 1 MiB"),
    ):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        done = threading.Event()
        thread = write_to(pipe, pieces, done)
        assert problem in waited(pipe)
        done.set()
        os.close(reader)
        thread.join()


def test_a_pipe_that_goes_on_for_ever_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIPE_S", 0.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    done = threading.Event()
    thread = write_to(pipe, [b"a", b"b"], done)
    assert "it is a pipe that has not ended within 0 s" in waited(pipe)
    done.set()
    thread.join()
    os.close(reader)


def waited(pipe: Path) -> str:
    """Return the refusal of a pipe once its writer has begun."""
    while "it is empty" in (told := refused(pipe)):
        pass
    return told


def test_the_content_is_encoded_once_and_never_shown() -> None:
    (found,) = read_all([png()], None)
    assert found.base64 is found.base64
    assert found.data_url.startswith("data:image/png;base64,iVBORw0KGgo")
    assert "PNG" not in repr(found)
    assert repr(Attachment(url="https://a.example/b.png?sig=x")).count("sig") == 0

"""`--attach` in processes of their own: what is sent and told, and what is refused before anything is sent."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attached_files import gif, pdf, png
from tests.support.fault_server import reply, serving
from tests.support.model_server import ModelServer
from tests.support.ollama_server import OllamaServer, Pulled
from tests.support.shell import LLMROUTE, Ran, environment, rows, run

if TYPE_CHECKING:
    from pathlib import Path

MODEL = ("-m", "openai/gpt-4.1-mini", "--no-fallback")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(png(540, 360))
    (tmp_path / "b.pdf").write_bytes(pdf(2))
    (tmp_path / "moving.gif").write_bytes(gif(frames=2))
    (tmp_path / "wide.png").write_bytes(png(20_000, 20_000))
    (tmp_path / "notes.txt").write_text("Grüße\n")
    (tmp_path / "latin").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "empty").touch()
    (tmp_path / "docx").write_bytes(b"PK\x03\x04\0\0\0\0")
    return tmp_path


def content(body: dict[str, Any]) -> Any:
    (message,) = body["messages"]
    return message["content"]


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_files_are_sent_before_the_prompt_and_text_under_its_name(
    command: str, files: Path, server: ModelServer
) -> None:
    attached = ("-a", "a.png", "--attach", "notes.txt", "-a", "b.pdf", "-a", "https://a.example/c.png")
    ran = run(command, "What is it?", *attached, *MODEL, home=files, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    image, document, address, text = content(server.requests[0])
    assert base64.b64decode(image["image_url"]["url"].partition(",")[2]) == (files / "a.png").read_bytes()
    assert image["image_url"]["detail"] == "high"
    assert document["file"]["filename"] == "b.pdf"
    assert address["image_url"]["url"] == "https://a.example/c.png"
    assert text["text"] == '<attachment name="notes.txt">\nGrüße\n</attachment>\n\nWhat is it?'


def test_the_output_tells_what_was_attached_and_the_ledger_does_not(files: Path, server: ModelServer) -> None:
    asked = ("gen", "hi", "-a", "a.png", "-a", "notes.txt", *MODEL, "--json")
    told = json.loads(run(*asked, home=files, **server.settings).out)["attachments"]
    assert [(one["name"], one["media_type"], one["width"], one["size_bytes"]) for one in told] == [
        ("a.png", "image/png", 540, (files / "a.png").stat().st_size),
        ("notes.txt", "text/plain", None, 8),
    ]
    planned = json.loads(run(*asked, "--dry-run", home=files, **server.settings).out)
    assert planned["attachments"] == told
    plain = json.loads(run("gen", "hi", *MODEL, "--json", "--dry-run", home=files, **server.settings).out)
    costs = [plan["candidates"][0]["worst_cost_usd"] for plan in (planned, plain)]
    assert costs[0] > costs[1]
    assert (
        "attached: a.png (image/png, 540x360 pixels, "
        in run(*asked[:-1], "--dry-run", home=files, **server.settings).out
    )
    (row,) = rows(files)
    assert "a.png" not in repr(row)
    assert len(server.requests) == 1


def test_stdin_is_attached_instead_of_read_as_the_prompt(files: Path, server: ModelServer) -> None:
    image = (files / "a.png").read_bytes()
    ran = subprocess.run(
        [*LLMROUTE, "gen", "What is it?", "-a", "-", *MODEL],
        env=environment(files, **server.settings),
        input=image,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    part, text = content(server.requests[0])
    assert base64.b64decode(part["image_url"]["url"].partition(",")[2]) == image
    assert text["text"] == "What is it?"


REFUSED = [
    (("-a", "none.png"), "none.png cannot be attached: there is no such file"),
    (("-a", "."), ". cannot be attached: it is a directory"),
    (("-a", "/dev/zero"), "/dev/zero cannot be attached: it is not a file"),
    (("-a", "pipe"), "pipe cannot be attached: it is empty"),
    (("-a", "empty"), "empty cannot be attached: it is empty"),
    (("-a", "latin"), "latin cannot be attached: it is not UTF-8: byte 0xfc at 2"),
    (("-a", "docx"), "docx cannot be attached: it is not a png, jpeg, gif or webp image, PDF or UTF-8 text"),
    (("-a", "-"), "stdin cannot be attached: it is empty"),
    (("-a", "-", "-a", "-"), "--attach - is stdin, which is already an attachment"),
    (("-a", "-", "--no-stdin"), "--attach - is stdin, and --no-stdin forbids it"),
    (("-a", "a.png", "--attach-type", "image/heic"), "--attach-type: 'image/heic' is not one of image/png"),
    (("--attach-type", "image/heic"), "--attach-type: 'image/heic' is not one of image/png"),
    (("-a", "https://a.example/x"), "its address does not end in png, jpeg, gif, webp or pdf (--attach-type says"),
    (
        ("-a", "wide.png", "-m", "anthropic/claude-haiku-4-5"),
        "takes images of at most 8000 pixels a side",
    ),
]
UNPLANNED = [
    (("-a", "https://a.example/x.pdf", "-p", "openai"), "does not fetch PDFs: download https://a.example/x.pdf"),
    (("-a", "moving.gif", "-p", "openai"), "takes no animated images (moving.gif)"),
    (("-a", "wide.png"), "takes images of at most 30,000 patches of 32x32, and wide.png is 20000x20000"),
]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [*REFUSED, *UNPLANNED, *(((*asked[:2], *MODEL), problem) for asked, problem in UNPLANNED)],
)
def test_what_cannot_be_attached_is_one_line_and_nothing_is_sent(
    asked: tuple[str, ...], problem: str, files: Path, server: ModelServer
) -> None:
    os.mkfifo(files / "pipe")
    ran = run("gen", "hi", *asked, home=files, ANTHROPIC_API_KEY="sk-test-0123456789", **server.settings)
    assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert problem in ran.err
    assert ran.err.count("\n") == 1


def test_a_named_model_that_cannot_see_is_refused(files: Path, server: ModelServer) -> None:
    ran = run("gen", "hi", "-a", "a.png", "-m", "openai/gpt-3.5-turbo", home=files, **server.settings)
    assert (ran.code, server.requests) == (2, [])
    assert "openai/gpt-3.5-turbo: lacks vision" in ran.err


def test_a_provider_none_of_whose_models_takes_the_attachment_exits_with_2(files: Path, server: ModelServer) -> None:
    (files / "a.pdf").write_bytes(pdf())
    asked = ("gen", "hi", "-p", "together", "-a", "a.pdf")
    ran = run(*asked, home=files, TOGETHER_API_KEY="sk-test-0123456789", **server.settings)
    assert (ran.code, server.requests) == (2, [])
    assert "lacks pdf" in ran.err
    assert run(*asked, home=files, **server.settings).code == 3, "a key is missing too"


def test_an_image_goes_to_a_local_model_and_an_address_goes_nowhere(files: Path) -> None:
    pulled = {"gemma3:latest": Pulled(capabilities=("completion", "vision")), "llama3.1:latest": Pulled()}
    with OllamaServer(pulled) as server:
        local = ("gen", "What?", "--local-only", "--no-stdin")

        def asked(*more: str) -> Ran:
            return run(*local, *more, home=files, OLLAMA_BASE_URL=server.url)

        ran = asked("-a", "a.png", "-m", "ollama/gemma3")
        assert ran.code == 0, ran.err
        (sent,) = [body for path, body in server.requests if path == "/api/chat"]
        assert sent["messages"][0]["images"] == [base64.b64encode((files / "a.png").read_bytes()).decode()]
        before = len([path for path, _ in server.requests if path == "/api/chat"])
        ran = asked("-a", "https://a.example/a.png")
        assert ran.code == 2
        assert "does not fetch URLs: download https://a.example/a.png and attach the file" in ran.err
        ran = asked("-a", "a.png", "-m", "ollama/llama3.1")
        assert ran.code == 2
        assert "lacks vision" in ran.err
        assert len([path for path, _ in server.requests if path == "/api/chat"]) == before


def lines(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_lines_of_a_batch_have_attachments_of_their_own_beside_those_of_all(files: Path, server: ModelServer) -> None:
    folder = files / "inputs"
    folder.mkdir()
    (folder / "own.png").write_bytes(png(7, 7))
    lines(
        folder / "in.jsonl",
        {"id": "own", "prompt": "1", "attachments": ["own.png"]},
        {"id": "none", "prompt": "2"},
        {"id": "bad", "prompt": "3", "attachments": ["missing.png"]},
        {"id": "kind", "prompt": "4", "attachments": "own.png"},
    )
    batch = ("--batch", "inputs/in.jsonl", "-o", "out.jsonl", "--jobs", "1")
    ran = run("gen", *batch, "-a", "notes.txt", "-a", "a.png", *MODEL, home=files, **server.settings)
    assert ran.code == 2, ran.err
    sent = [content(body) for body in server.requests]
    assert [len(parts) for parts in sent] == [4, 3]
    assert sent[0][:2] == sent[1][:2], "what the lines have in common comes first"
    assert sent[0][1]["text"].startswith('<attachment name="notes.txt">')
    assert [parts[-1]["text"] for parts in sent] == ["1", "2"]
    results = {record["id"]: record for record in map(json.loads, (files / "out.jsonl").read_text().splitlines())}
    assert [one["name"] for one in results["own"]["attachments"]] == ["notes.txt", "a.png", "own.png"]
    assert "missing.png cannot be attached: there is no such file" in json.dumps(results["bad"])
    assert "attachments: 'own.png' is not a list of paths" in json.dumps(results["kind"])


def test_a_failed_line_can_be_run_again_from_another_folder(files: Path) -> None:
    folder = files / "inputs"
    folder.mkdir()
    (folder / "own.png").write_bytes(png(7, 7))
    lines(folder / "in.jsonl", {"id": "own", "prompt": "1", "attach": ["own.png", "https://a.example/b.png"]})
    with serving([reply(400, b'{"error": {"message": "not now"}}')]) as refusing:
        refused = {"OPENAI_BASE_URL": f"{refusing.url}/v1", "OPENAI_API_KEY": "sk-test-0123456789"}
        run("gen", "--batch", "inputs/in.jsonl", "-o", "out.jsonl", *MODEL, home=files, **refused)
    (failed,) = map(json.loads, (files / "out.jsonl.failed").read_text().splitlines())
    assert failed == {"id": "own", "prompt": "1", "attachments": [str(folder / "own.png"), "https://a.example/b.png"]}
    with ModelServer() as server:
        ran = run("gen", "--batch", "out.jsonl.failed", *MODEL, home=files, **server.settings)
        assert ran.code == 0, ran.out
        assert len(content(server.requests[0])) == 3


def test_a_line_whose_attachment_is_missing_is_listed_to_be_run_again(files: Path, server: ModelServer) -> None:
    lines(files / "in.jsonl", {"id": "late", "prompt": "1", "attachments": ["late.png"]})
    batch = ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--resume", *MODEL)
    assert run(*batch, home=files, **server.settings).code == 2
    (failed,) = map(json.loads, (files / "out.jsonl.failed").read_text().splitlines())
    assert failed["id"] == "late"
    (files / "late.png").write_bytes(png())
    assert run(*batch, home=files, **server.settings).code == 0
    (files / "late.png").unlink()
    assert run(*batch, home=files, **server.settings).code == 0, "what is answered is not read again"
    assert len(server.requests) == 1


def test_a_large_file_is_held_a_few_times(files: Path, server: ModelServer) -> None:
    size = 24 * 2**20
    (files / "large.pdf").write_bytes(pdf(extra=b"8 0 obj\n<<>>\nstream\n" + bytes(size) + b"\nendstream\nendobj\n"))
    most = {}
    for name in ("b.pdf", "large.pdf"):
        command = [*LLMROUTE, "gen", "hi", "-a", name, *MODEL, "--no-stdin", "-q"]
        process = subprocess.Popen(command, env=environment(files, **server.settings), cwd=files)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        most[name] = used.ru_maxrss * 1024
    assert most["large.pdf"] - most["b.pdf"] < 7 * size


def test_stdin_is_not_both_the_batch_and_an_attachment(files: Path, server: ModelServer) -> None:
    ran = run("gen", "--batch", "-", "-a", "-", *MODEL, home=files, stdin='{"prompt": "x"}\n', **server.settings)
    assert (ran.code, server.requests) == (2, [])
    assert "--attach - is stdin, which --batch - reads" in ran.err

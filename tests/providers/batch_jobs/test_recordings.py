"""Every recorded exchange with a batch API, read as it was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import AttemptError
from llmroute.providers import Endpoint, Provider
from llmroute.providers import connect as connect_provider
from llmroute.providers.batch_jobs.job import BatchAPI, connect
from llmroute.types import HTTPRequest, Upload
from tests.providers import corpus

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.providers.batch_jobs.job import JobStatus

OK = 200
ERROR = 400
KEY = "k-test-0123456789"
# Bodies of other endpoints than the one of chat, which no job of ours uses.
OTHER_ENDPOINTS = ("response", "list")
JOBS = [one for one in corpus.batch_items("batch") if one.values[0]["expect"]["object"] == "batch"]


def provider_of(item: corpus.Item) -> Provider:
    return connect_provider(item["provider"], Endpoint(api_key=KEY))


def api_of(item: corpus.Item) -> BatchAPI:
    return connect(item["provider"], provider_of(item))


def assert_error(item: corpus.Item) -> None:
    expect = item["expect"]
    error = provider_of(item).parse_error(item["response"]["status"], corpus.headers(item), corpus.body(item))
    assert error.http_status == expect["status"]
    assert_message(error, expect["message"])


def assert_message(error: AttemptError, told: str) -> None:
    """Check the beginning of a message, of which the parser unwraps the one that is JSON again."""
    assert error.message if told.startswith(("{", "[")) else error.message.startswith(told[:40])


def assert_job(status: JobStatus, expect: dict[str, Any]) -> None:
    assert status.vendor_id == expect["vendor_id"]
    assert status.word == expect["status"]
    assert status.state == expect["state"]
    assert status.ended is expect["terminal"]
    assert status.created_s == expect["created"]
    assert status.expires_s == expect["expires"]
    assert (status.total, status.succeeded, status.failed) == (expect["total"], expect["succeeded"], expect["failed"])
    assert status.input_file == (expect["input_files"] or [None])[0]
    assert (status.output_file, status.error_file) == (expect["output_file"], expect["error_file"])
    assert status.label == (expect["metadata"] or {}).get("llmroute_job")
    assert [fault.message for fault in status.faults] == [fault["message"] for fault in expect["errors"] or ()]


@pytest.mark.parametrize("item", corpus.batch_items("batch"))
def test_a_recorded_job_is_read(item: corpus.Item) -> None:
    expect, api, body = item["expect"], api_of(item), corpus.body(item)
    if expect["object"] == "error":
        assert_error(item)
    elif expect["object"] == "batches":
        page = api.parse_list(body, api.render_list())
        assert [job.vendor_id for job in page.jobs] == expect["ids"]
        assert [job.state for job in page.jobs] == expect["states"]
        assert (page.next_request is not None) is bool(expect["has_more"])
    elif expect["object"] == "batch":
        assert_job(api.parse_job(body), expect)
    else:
        assert expect["object"] == "deleted"
        assert item["response"]["status"] == OK


@pytest.mark.parametrize("item", corpus.batch_items("file"))
def test_a_recorded_file_is_read(item: corpus.Item) -> None:
    expect, api, body = item["expect"], api_of(item), corpus.body(item)
    if expect["object"] == "error":
        assert_error(item)
    elif expect["object"] == "file" and expect["id"]:
        file = api.parse_file(body)
        assert (file.id, file.name, file.size) == (expect["id"], expect["filename"], expect["bytes"])
    elif expect["object"] == "file":
        # A redirect to another host has no file, and none is read from it.
        with pytest.raises(AttemptError):
            api.parse_file(body)


@pytest.mark.parametrize("item", corpus.batch_items("results"))
def test_recorded_results_are_read(item: corpus.Item) -> None:
    expect, api = item["expect"], api_of(item)
    if expect["object"] == "error":
        assert_error(item)
        return
    results = [api.parse_result(line) for line in corpus.body(item).split(b"\n") if line.strip()]
    assert [result.custom_id for result in results] == expect["order"]
    sources = [json.loads(line) for line in corpus.body(item).split(b"\n") if line.strip()]
    for result, source in zip(results, sources, strict=True):
        told = expect["lines"][result.custom_id]
        body = (source.get("response") or {}).get("body") or {}
        if body.get("object") in OTHER_ENDPOINTS:
            assert result.error is not None
        elif told["ok"]:
            assert result.completion is not None
            usage = told["usage"]
            assert result.completion.text == (told["text"] or "")
            assert result.completion.finish_reason == corpus.common_word(told["finish_reason"])
            assert result.completion.usage.input_tokens == usage["prompt_tokens"]
            assert result.completion.usage.output_tokens == usage["completion_tokens"]
            assert result.completion.usage.cached_input_tokens == usage["cached_tokens"]
        else:
            assert result.completion is None
            assert result.unrun or result.error is not None
            if told["error"]["message"] and result.error is not None:
                assert_message(result.error, told["error"]["message"])


@pytest.mark.parametrize("item", JOBS)
def test_no_request_leaves_the_configured_host(item: corpus.Item) -> None:
    provider, api = provider_of(item), api_of(item)
    status = api.parse_job(corpus.body(item))
    requests = [*api.render_results(status), *api.render_deletions(status), api.render_status(status.vendor_id)]
    assert requests
    assert all(request.url.startswith(provider.base_url + "/") for request in requests)


def sent_bytes(request: HTTPRequest) -> bytes:
    """Return the body of a request as the transport sends it."""
    upload = request.upload
    assert upload is not None
    content = upload.path.read_bytes()
    if upload.joined:
        content = content.removesuffix(b"\n").replace(b"\n", b",")
    return upload.before + content + upload.after


@pytest.mark.parametrize("name", ["openai", "mistral", "together"])
def test_an_upload_is_a_form_with_the_lines(name: str, tmp_path: Path) -> None:
    api = connect(name, connect_provider(name, Endpoint(api_key=KEY)))
    path = tmp_path / "lines"
    path.write_bytes(api.line("job-1", b'{"model":"m"}') + b"\n")
    request = api.render_upload("job", Upload(path, path.stat().st_size))
    assert request is not None
    assert request.upload is not None
    sent = sent_bytes(request)
    assert len(sent) == request.upload.size
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    assert sent.startswith(b"--" + boundary)
    assert sent.endswith(b"--" + boundary + b"--\r\n")
    assert b'filename="job.jsonl"' in sent
    assert b'"custom_id":"job-1"' in sent


def test_the_lines_of_anthropic_are_items_of_the_request(tmp_path: Path) -> None:
    api = connect("anthropic", connect_provider("anthropic", Endpoint(api_key=KEY)))
    path = tmp_path / "lines"
    path.write_bytes(b"".join(api.line(f"job-{n}", b'{"model":"m"}') + b"\n" for n in range(3)))
    request = api.render_create("job", "m", "", Upload(path, path.stat().st_size))
    assert request.upload is not None
    sent = sent_bytes(request)
    assert len(sent) == request.upload.size
    assert [item["custom_id"] for item in json.loads(sent)["requests"]] == ["job-0", "job-1", "job-2"]

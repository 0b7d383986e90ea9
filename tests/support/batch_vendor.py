"""The batch APIs of four providers on loopback: they run each line once, bill it, and misbehave as they are told to."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests.support.fault_server import Reset, reply

if TYPE_CHECKING:
    from tests.support.fault_server import Received, Script

MODELS = {
    "openai": "openai/gpt-4.1-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "mistral": "mistral/mistral-small-2603",
    "together": "together/openai/gpt-oss-120b",
}
# Pico-USD per token of input, cached input and output, at the batch APIs.
PRICES = {
    "openai": (200_000, 100_000, 800_000),
    "anthropic": (500_000, 50_000, 2_500_000),
    "mistral": (75_000, 7_500, 300_000),
    "together": (70_000, 7_000, 310_000),
}
TOGETHER_CONFIG = """
[models."together/openai/gpt-oss-120b"]
batch = {input = 0.07, output = 0.31, cache_read = 0.007}
"""
CACHED, OUTPUT = 2, 5
MENDED = '{"name":"mended"}'
ENDED = ("done", "expired", "cancelled", "failed")
WORDS = {
    "openai": {"running": "in_progress", "done": "completed"},
    "anthropic": dict.fromkeys(ENDED, "ended") | {"running": "in_progress"},
    "mistral": {"running": "RUNNING", "done": "SUCCESS", "expired": "TIMEOUT_EXCEEDED", "cancelled": "CANCELLED"},
    "together": {"running": "IN_PROGRESS", "done": "COMPLETED", "expired": "EXPIRED", "cancelled": "CANCELLED"},
}


@dataclass
class VendorJob:
    """A job at the vendor: its lines, and the results of those that ran."""

    id: str
    kind: str
    lines: list[dict[str, Any]]
    file_id: str = ""
    label: str | None = None
    state: str = "running"
    polls: int = 0
    cancel: bool = False
    fault: str | None = None
    created_s: float = field(default_factory=time.time)
    answered: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class BatchVendor:
    """The state of all four vendors; `answer` serves a request, whose path begins with the name of a vendor.

    Attributes:
        polls_to_end: how often a job is seen running before it ends.
        runs_at_most: how many lines of a job run before it expires, None for all.
        lose: operations (upload, create, cancel) whose next response is lost, after they were performed.
        reject: statuses with which the next creations are rejected.
        retry_after_s: for how long 429 and 503 ask to wait, None for no such wish.
        refuse: with which statuses the next requests of an operation (list, cancel, results) are rejected.
        others: jobs of other programs, which are listed first.
        hidden_lists: how often jobs are listed before a list has them.
        short: how many of the next downloads end in the middle of a line without a sign of it.
        clock_s: by how much the clock of the vendor is ahead.
        undeletable: how many of the next deletions fail.
        full: how many of the next jobs fail for the limit on enqueued tokens.
        queue_lines: with how many lines that run at once another job fails likewise, None for any number.
        cuts: how many of the next downloads are cut off.
        noise: whether results hold unknown, repeated and unreadable records.
        stalls: whether jobs run until they are cancelled.
        endless: whether jobs run on after that.
        most_running: the most jobs, and the most lines in them, that ran at once.
        times_s: when each request came.
        formats: the native form of the schema of each prompt that was run.

    A prompt "say TEXT" is answered with TEXT, which is cut at a limit if it ends in "…"; an ordinary call that shows
    this answer again is answered with MENDED.
    """

    polls_to_end: int = 1
    runs_at_most: int | None = None
    lose: list[str] = field(default_factory=list)
    reject: list[int] = field(default_factory=list)
    retry_after_s: float | None = None
    refuse: dict[str, list[int]] = field(default_factory=dict)
    others: list[VendorJob] = field(default_factory=list)
    hidden_lists: int = 0
    short: int = 0
    clock_s: float = 0.0
    undeletable: int = 0
    full: int = 0
    queue_lines: int | None = None
    cuts: int = 0
    noise: bool = False
    stalls: bool = False
    endless: bool = False
    jobs: dict[str, VendorJob] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    formats: dict[str, Any] = field(default_factory=dict)
    bill_picousd: int = 0
    uploads: int = 0
    ordinary: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    most_running: tuple[int, int] = (0, 0)
    times_s: list[float] = field(default_factory=list)

    def answer(self, received: Received) -> Script:
        """Serve one request."""
        method, url, _ = received.line.split(" ")
        _, kind, path = url.split("/", 2)
        path = "/" + path.partition("/")[2].partition("?")[0]
        self.requests.append(f"{kind} {method} {path}")
        self.times_s.append(time.monotonic())
        operation, status, body = self._serve(kind, method, path, received)
        if statuses := self.refuse.get(operation):
            status, body = statuses.pop(0), b'{"error": {"message": "not for you", "type": null}}'
        if operation == "results" and self.short:
            self.short -= 1
            body = body[: len(body) // 2]
        if operation in self.lose:
            self.lose.remove(operation)
            return [Reset()]
        if operation == "results" and self.cuts:
            self.cuts -= 1
            return [reply(status, body)[: -len(body) // 2], Reset()]
        wait = (
            {"retry-after": str(self.retry_after_s)} if status in (429, 503) and self.retry_after_s is not None else {}
        )
        return [reply(status, body, headers={**wait, "date": formatdate(time.time() + self.clock_s, usegmt=True)})]

    def _serve(self, kind: str, method: str, path: str, received: Received) -> tuple[str, int, bytes]:
        if method == "DELETE" and self.undeletable:
            self.undeletable -= 1
            return "delete", 500, b'{"error": {"message": "not now", "type": null}}'
        if path in ("/chat/completions", "/messages"):
            return "call", 200, self._call(kind, received.body)
        if "/files" in path:
            return self._files(kind, method, path, received)
        jobs = {"anthropic": "/messages/batches", "mistral": "/batch/jobs"}.get(kind, "/batches")
        if path == jobs and method == "POST":
            return self._create(kind, received)
        if path == jobs:
            self.hidden_lists, hidden = max(self.hidden_lists - 1, 0), self.hidden_lists
            own = [job for job in [*self.others, *reversed(self.jobs.values())] if job.kind == kind and not hidden]
            rows = [self._seen(job) for job in own]
            listed = {"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None}
            return "list", 200, json.dumps(rows if kind == "together" else listed).encode()
        job_id, _, action = path.removeprefix(f"{jobs}/").partition("/")
        named = {job.id: job for job in self.others} | self.jobs
        if (job := named.get(job_id)) is None:
            return "status", 404, b'{"error": {"message": "no such batch", "type": "not_found_error"}}'
        if action == "cancel":
            job.cancel = job.cancel or not self.refuse.get("cancel")
            return "cancel", 200, json.dumps(self._shown(job)).encode()
        if action == "results":
            return "results", 200, self._lines(job, [*job.answered, *job.failed])
        if method == "DELETE":
            del self.jobs[job_id]
            return "delete", 200, json.dumps({"id": job_id, "type": "message_batch_deleted"}).encode()
        return "status", 200, json.dumps(self._seen(job)).encode()

    def _files(self, kind: str, method: str, path: str, received: Received) -> tuple[str, int, bytes]:
        if method == "POST":
            assert path == ("/files/upload" if kind == "together" else "/files")
            boundary = received.headers["content-type"].partition("boundary=")[2].encode()
            name = re.search(rb'filename="([^"]+)"', received.body)
            content = received.body.split(b"--" + boundary)[-2].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            assert name is not None
            self.uploads += 1
            file_id = f"file-{self.uploads}"
            self.files[file_id] = (name[1].decode(), content)
            return "upload", 200, self._file(file_id)
        file_id = path.split("/")[2] if path.count("/") > 1 else ""
        if method == "DELETE":
            self.files.pop(file_id, None)
            return "delete", 200, json.dumps({"id": file_id, "deleted": True}).encode()
        if path.endswith("/content"):
            if file_id not in self.files:
                return "results", 404, b'{"error": {"message": "no such file", "type": "not_found_error"}}'
            return "results", 200, self.files[file_id][1]
        rows = [json.loads(self._file(each)) for each in self.files]
        return "files", 200, json.dumps({"object": "list", "data": rows, "has_more": False}).encode()

    def _file(self, file_id: str) -> bytes:
        name, content = self.files[file_id]
        told = {"id": file_id, "object": "file", "filename": name, "bytes": len(content), "created_at": 1_789_000_000}
        return json.dumps(told).encode()

    def _create(self, kind: str, received: Received) -> tuple[str, int, bytes]:
        if self.reject:
            return "create", self.reject.pop(0), b'{"error": {"message": "not now", "type": null}}'
        body = json.loads(received.body)
        job = VendorJob(f"{kind}-batch-{len(self.jobs)}-{random.randrange(10**9)}", kind, [])
        if kind == "anthropic":
            job.lines = [{"custom_id": one["custom_id"], "body": one["params"]} for one in body["requests"]]
        else:
            job.file_id = body["input_files"][0] if kind == "mistral" else body["input_file_id"]
            job.label = (body.get("metadata") or {}).get("llmroute_job")
            job.lines = [json.loads(line) for line in self.files[job.file_id][1].split(b"\n") if line]
        job.created_s += self.clock_s
        self.jobs[job.id] = job
        running = [len(each.lines) for each in self.jobs.values() if each.kind == kind and each.state == "running"]
        if self.full or (self.queue_lines is not None and sum(running) > self.queue_lines):
            self.full = max(self.full - 1, 0)
            job.state, job.fault = "failed", "token_limit_exceeded"
            running.pop()
        self.most_running = max(self.most_running, (len(running), sum(running)))
        shown = self._shown(job)
        return "create", 200, json.dumps({"job": shown, "warning": ""} if kind == "together" else shown).encode()

    def _seen(self, job: VendorJob) -> dict[str, Any]:
        """Show a job, after it has gone on."""
        job.polls += 1
        ends = job.cancel or (job.polls > self.polls_to_end and not self.stalls)
        if job.state == "running" and ends and not self.endless:
            self._run(job)
        return self._shown(job)

    def _run(self, job: VendorJob) -> None:
        ran = job.lines if self.runs_at_most is None else job.lines[: self.runs_at_most]
        if job.cancel:
            ran = ran if self.runs_at_most is not None else []
        for line in ran:
            self._run_line(job, line)
        job.state = "cancelled" if job.cancel else "done" if len(ran) == len(job.lines) else "expired"
        for what, lines in (("output", job.answered), ("errors", job.failed)):
            if lines and job.kind != "anthropic":
                self.files[f"file-{what}-{job.id}"] = (f"{job.id}_{what}.jsonl", self._lines(job, lines))
        if job.kind == "anthropic":
            kind = "canceled" if job.cancel else "expired"
            job.failed += [{"custom_id": line["custom_id"], "result": {"type": kind}} for line in job.lines[len(ran) :]]

    def _run_line(self, job: VendorJob, line: dict[str, Any]) -> None:
        prompt = line["body"]["messages"][-1]["content"]
        self.runs[prompt] += 1
        self.formats[prompt] = line["body"].get("response_format") or line["body"].get("output_config")
        if prompt.startswith("fail"):
            error = {"message": "this prompt fails", "type": "invalid_request_error", "code": None}
            if job.kind == "anthropic":
                result: dict[str, Any] = {"type": "errored", "error": {"type": "error", "error": error}}
                job.failed.append({"custom_id": line["custom_id"], "result": result})
            else:
                response = {"status_code": 400, "request_id": "r", "body": {"error": error}}
                job.failed.append({"custom_id": line["custom_id"], "response": response, "error": None})
            return
        self._charge(job.kind, prompt)
        body = json.loads(answer_body(job.kind, prompt))
        if job.kind == "anthropic":
            job.answered.append({"custom_id": line["custom_id"], "result": {"type": "succeeded", "message": body}})
        else:
            response = {"status_code": 200, "request_id": "r", "body": body}
            job.answered.append({"custom_id": line["custom_id"], "response": response, "error": None})

    def _charge(self, kind: str, prompt: str) -> None:
        fresh, cached, output = PRICES[kind]
        self.bill_picousd += (len(prompt) + 3) * fresh + CACHED * cached + OUTPUT * output

    def _call(self, kind: str, body: bytes) -> bytes:
        messages = json.loads(body)["messages"]
        prompt: str = messages[-1]["content"]
        self.ordinary.append(prompt)
        if any(message["role"] == "assistant" for message in messages):
            prompt = f"say {MENDED}"
        return answer_body(kind, prompt, tier="standard")

    def _lines(self, job: VendorJob, lines: list[dict[str, Any]]) -> bytes:
        """Return results in disorder, and with noise where that is wanted."""
        lines = random.Random(job.id).sample(lines, len(lines))
        texts = [json.dumps(line, ensure_ascii=False) for line in lines]
        if self.noise:
            texts += [texts[0], texts[-1].replace(lines[-1]["custom_id"], "stranger-1"), '{"custom_id": 5}', "{broken"]
            texts.append(texts[0].replace(lines[0]["custom_id"], f"{lines[0]['custom_id'].rpartition('-')[0]}-999999"))
        return "".join(f"{text}\n" for text in texts).encode()

    def _shown(self, job: VendorJob) -> dict[str, Any]:
        word = WORDS[job.kind].get(job.state, job.state)
        total, good, bad = len(job.lines), len(job.answered), len(job.failed)
        if job.kind == "anthropic":
            ended = job.state in ENDED
            unrun = sum("error" not in line["result"] for line in job.failed)
            counts = {"processing": 0 if ended else total, "succeeded": good, "errored": bad - unrun}
            counts |= {"canceled": unrun if job.cancel else 0, "expired": 0 if job.cancel else unrun}
            created = datetime.fromtimestamp(job.created_s, UTC).isoformat()
            cancelled = created if job.cancel else None
            told = {"id": job.id, "type": "message_batch", "processing_status": word, "request_counts": counts}
            elsewhere = "http://127.0.0.2:9/results"
            return {**told, "created_at": created, "cancel_initiated_at": cancelled, "results_url": elsewhere}
        output = f"file-output-{job.id}" if job.state in ENDED and job.answered else None
        errors = f"file-errors-{job.id}" if job.state in ENDED and job.failed else None
        if job.kind == "together":
            created = datetime.fromtimestamp(job.created_s, UTC).isoformat().replace("+00:00", "Z")
            together = {"id": job.id, "status": word, "created_at": created, "input_file_id": job.file_id}
            files = {"output_file_id": output, "error_file_id": errors}
            return together | {name: value for name, value in files.items() if value is not None}
        common = {"id": job.id, "object": "batch", "status": word, "created_at": int(job.created_s)}
        common["metadata"] = {"llmroute_job": job.label} if job.label else None
        if job.kind == "mistral":
            counts = {"total_requests": total, "succeeded_requests": good, "failed_requests": bad}
            return {**common, **counts, "input_files": [job.file_id], "output_file": output, "error_file": errors}
        faults = {"object": "list", "data": [{"code": job.fault, "message": "Enqueued token limit reached"}]}
        files = {"input_file_id": job.file_id, "output_file_id": output, "error_file_id": errors}
        counts = {"total": total, "completed": good, "failed": bad}
        return {**common, **files, "request_counts": counts, "errors": faults if job.fault else None}


def answer_body(kind: str, prompt: str, tier: str = "batch") -> bytes:
    """Return an answer, with a line separator of Unicode in its text, which is no end of a line."""
    text = prompt.removeprefix("say ") if prompt.startswith("say ") else f"answer\u2028{prompt}"
    tokens = len(prompt) + 3
    if kind == "anthropic":
        usage = {"input_tokens": tokens, "cache_read_input_tokens": CACHED, "output_tokens": OUTPUT}
        content = [{"type": "text", "text": text}]
        told = {"id": "msg_1", "type": "message", "model": "claude-haiku-4-5", "content": content}
        return json.dumps({**told, "stop_reason": "end_turn", "usage": {**usage, "service_tier": tier}}).encode()
    details = {"prompt_tokens_details": {"cached_tokens": CACHED}}
    usage_told = {"prompt_tokens": tokens + CACHED, "completion_tokens": OUTPUT, **details}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    choice["finish_reason"] = "length" if text.endswith("…") else "stop"
    told = {"id": "chatcmpl-1", "model": "m", "choices": [choice], "service_tier": "default"}
    return json.dumps({**told, "usage": usage_told}).encode()

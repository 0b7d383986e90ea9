"""Eighty faults in five wire formats, plain and streamed: the other model's whole text, or the right exit code.

What is right is said here, from the table of how failures are met, and not by the code under test.  Each fault, plain
and streamed, is met over the five formats in each of four ways: by blocking and by awaiting, with our own HTTP clients
and with the caller's.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.config import Timeouts
from llmroute.errors import LLMRouteError
from llmroute.routing import fallback
from tests.support.fault_server import Drip, Endless, Pause, Reset, Script, chunk, chunked_head, reply
from tests.support.wire_formats import (
    BACKUP,
    FORMATS,
    MODEL,
    answer,
    error,
    head,
    in_band,
    new_home,
    opening,
    piece,
    provider_of,
    town,
    whole,
)
from tests.wire.calling import Outcome, call, call_through_own_client, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.wire_formats import Town

TEXT = "Whole and from the other one."
# Less than the servers pause.
BOUNDED_S = 50.0
TIMEOUTS = Timeouts(total_s=120, connect_s=60, first_token_s=60, slow_first_token_s=60, stall_s=60)
SHORT_S = 3
SILENCE = Pause(100)
WORKERS = 12

# The class of a failure to what comes of it while another model with a larger window is left: its text, or an exit.
ANSWERED = 0
COMES_OF: dict[str, int] = {
    "rate_limit": ANSWERED,
    "quota": ANSWERED,
    "auth": ANSWERED,
    "model_gone": ANSWERED,
    "transient": ANSWERED,
    "timeout": ANSWERED,
    "unreachable": ANSWERED,
    "context": ANSWERED,
    "parameter": ANSWERED,
    "bad_output": ANSWERED,
    "content": 6,
    "caller": 2,
    "shown": 6,
}
HTML = b"<html><head><title>Bad gateway</title></head><body><center>nginx</center></body></html>"


OVERLOADED = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}).encode()


@dataclass(frozen=True)
class Fault:
    """What goes wrong; the class that it is, plain and streamed where they differ, and how it is played."""

    name: str
    kinds: str
    play: Callable[[str], Script]
    kinds_streamed: str | None = None

    def kinds_when(self, *, streaming: bool) -> set[str]:
        told = self.kinds_streamed if streaming and self.kinds_streamed else self.kinds
        return set(told.split("|"))

    @property
    def timeouts(self) -> Timeouts:
        """Short ones for the wait that the fault may end."""
        if "timeout" not in self.kinds:
            return TIMEOUTS
        if self.kinds_streamed == "shown":
            return TIMEOUTS._replace(stall_s=SHORT_S)
        return TIMEOUTS._replace(first_token_s=SHORT_S, slow_first_token_s=SHORT_S, stall_s=SHORT_S)


def told(
    kinds: str, status: int, message: str = "it failed", code: str = "", headers: dict[str, str] | None = None
) -> Fault:
    """An error in the provider's own form."""
    return Fault(f"{status} {message}", kinds, lambda name: error(name, status, message, code, headers))


def raw(name: str, kinds: str, *script: Any, streamed_as: str | None = None) -> Fault:
    """The same bytes whoever is asked."""
    return Fault(name, kinds, lambda _name: script, streamed_as)


def page(kinds: str, status: int, body: bytes, **headers: str) -> Fault:
    """A page of a gateway in place of the provider's answer."""
    told_headers = {"content-type": "text/html", **{key.replace("_", "-"): value for key, value in headers.items()}}
    return raw(f"{status} page {body[:12]!r} {headers}", kinds, reply(status, body, headers=told_headers))


def mid(name: str, *rest: Any) -> Fault:
    """A stream that goes wrong after text of it was shown; asked for plainly, it is no answer at all."""

    def play(who: str) -> Script:
        begun = [head(who), opening(who), piece(who, "Half an "), piece(who, "answer"), Pause(0.1)]
        return [*begun, *((step(who) if callable(step) else step) for step in rest)]

    return Fault(name, "bad_output|unreachable|timeout|transient", play, "shown")


def early(name: str, *rest: Any) -> Fault:
    """A stream that goes wrong before its first text."""

    def play(who: str) -> Script:
        return [head(who), opening(who), *((step(who) if callable(step) else step) for step in rest)]

    return Fault(name, "bad_output|unreachable|timeout|transient", play)


def body(name: str, data: bytes, **headers: str) -> Fault:
    """A body that is no answer, with status 200."""
    told_headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return raw(name, "bad_output", reply(200, data, headers=told_headers))


def nonsense(who: str) -> bytes:
    return chunk(b"{nonsense\n" if who == "ollama" else b"data: {nonsense\n\n")


FAULTS: tuple[Fault, ...] = (
    # Statuses, in the provider's own form.
    told("caller", 400, "messages.0.role: not a role"),
    told("context", 400, "This model's maximum context length is 8192 tokens", "context_length_exceeded"),
    told("context", 400, "prompt is too long: 250000 tokens > 200000 maximum"),
    told("content", 400, "rejected by the content policy", "content_policy_violation"),
    told("quota", 400, "Your credit balance is too low to access the API"),
    told("model_gone", 400, "Invalid model: no-such-model", "invalid_model"),
    told("parameter", 400, "Unsupported parameter: 'top_k' is not supported with this model", "unsupported_parameter"),
    told("auth", 401, "Incorrect API key", "invalid_api_key"),
    told("quota", 402, "Insufficient credits"),
    # To Together, a 403 in this form is a prompt that does not fit.
    told("auth|context", 403, "You are not allowed to sample from this model", "permission_error"),
    told("model_gone", 404, "The model `x` does not exist", "model_not_found"),
    told("caller", 405, "method not allowed"),
    told("transient", 408, "request timed out"),
    told("transient", 409, "conflict"),
    told("model_gone", 410, "the model has been retired"),
    told("context", 413, "request too large"),
    told("caller", 415, "unsupported media"),
    told("caller", 422, "messages: field required"),
    told("caller", 431, "headers"),
    told("rate_limit", 429, "Rate limit reached"),
    told("rate_limit", 429, "Rate limit reached, wait", headers={"retry-after": "20"}),
    told("rate_limit", 429, "Rate limit reached, soon", headers={"retry-after": "0.05"}),
    told("rate_limit", 429, "Rate limit reached, odd", headers={"retry-after": "in a while"}),
    told("rate_limit", 429, "Rate limit reached, ago", headers={"retry-after": "-7"}),
    told("quota", 429, "You exceeded your current quota", "insufficient_quota"),
    told("transient", 500, "internal error"),
    told("transient", 500, "internal error, again at once", headers={"x-should-retry": "true"}),
    told("transient", 500, "internal error, not again", headers={"x-should-retry": "false"}),
    told("transient", 501, "not implemented"),
    told("transient", 502, "bad gateway"),
    told("transient", 503, "unavailable"),
    told("transient", 503, "unavailable for long", headers={"retry-after": "3600"}),
    told("transient", 504, "gateway timeout"),
    told("transient", 520, "unknown error"),
    told("transient", 522, "connection timed out"),
    told("transient", 524, "a timeout occurred"),
    told("transient", 529, "Overloaded", "overloaded_error"),
    told("transient", 599, "network timeout"),
    # Statuses, with the page of whoever stands between.
    page("caller", 400, b""),
    page("auth", 401, b""),
    page("auth", 403, HTML),
    page("model_gone", 404, HTML),
    page("rate_limit", 429, b"slow down"),
    page("transient", 500, b"\xff\xfe\x00"),
    page("transient", 502, HTML),
    page("transient", 503, HTML, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"),
    # Redirects are not followed.
    page("unreachable", 301, b"", location="http://127.0.0.1:9/"),
    page("unreachable", 302, b"", location="/v1/elsewhere"),
    page("unreachable", 307, b"", location="http://127.0.0.1:9/"),
    page("unreachable", 308, b"", location="gopher://"),
    # The connection.
    raw("reset before the answer", "unreachable", Reset()),
    raw("closed before the answer", "unreachable", b"", b"HTTP/1.1 200", Reset()),
    raw("no HTTP", "unreachable", b"220 mail.example ESMTP\r\n\r\n"),
    raw("no reply", "timeout", SILENCE),
    raw("a head that drips", "timeout", Drip(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000, 0.05)),
    raw("a head without end", "unreachable", b"HTTP/1.1 200 OK\r\n", Endless(b"x-header: " + b"y" * 4000 + b"\r\n")),
    raw("a head of strange bytes", "unreachable", b"HTTP/1.1 200 OK\r\n\x00\x01\x02: \xff\r\n\r\n"),
    raw("a length that is no number", "unreachable", b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}"),
    raw("a body that ends too early", "unreachable", b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"a":', Reset()),
    raw("a chunk of no length", "unreachable", chunked_head(), b"zz\r\n{}\r\n"),
    raw("a body that never comes", "timeout", b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", SILENCE),
    # The body.
    body("empty", b""),
    body("a page", HTML),
    body("bytes", bytes(range(256))),
    body("no gzip", b"not gzip at all", content_encoding="gzip"),
    body("half a gzip", gzip.compress(b'{"choices": []}' * 50)[:30], content_encoding="gzip"),
    body("a bomb", zlib.compress(b" " * 90_000_000, 9), content_encoding="deflate"),
    body("brotli", b"\x8b\x02\x80{}\x03", content_encoding="br"),
    body("null", b"null"),
    body("half of an answer", b'{"id": "c1", "choices": [{"mess'),
    raw("an error that calls itself fine", "transient", reply(200, OVERLOADED), streamed_as="transient|bad_output"),
    Fault("no text", "bad_output", lambda name: whole(name, " \n")),
    # Streams.
    early("a stream that ends before its text", chunk(b"")),
    early("a stream that breaks before its text", Reset()),
    early("a stream that stalls before its text", SILENCE),
    early("an error before the text", in_band, SILENCE),
    mid("a stream that breaks", Reset()),
    mid("a stream without its end", chunk(b"")),
    mid("a stream that stalls", SILENCE),
    mid("nonsense in a stream", nonsense, SILENCE),
)  # fmt: skip
assert len(FAULTS) == len({fault.name for fault in FAULTS}) == 80


def play(name: str, asked: dict[str, Any]) -> Script:
    """Play the fault whose number the prompt says, and answer whoever stands in."""
    model = asked["model"]
    if BACKUP[name].endswith(model) or model in ("mistral-large-4", "gpt-6-luna"):
        return answer(name, TEXT, streaming=bool(asked.get("stream")))
    numbered = re.search(r"fault (\d+)", json.dumps(asked))
    assert numbered is not None
    return FAULTS[int(numbered[1])].play(name)


@pytest.fixture(scope="module")
def here() -> Iterator[Town]:
    with town(play) as running:
        yield running


@pytest.mark.parametrize("streaming", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_fault_ends_in_the_other_ones_text_or_in_its_exit_code(
    name: str, streaming: bool, here: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmroute.registry import ModelRegistry

    monkeypatch.setattr(fallback, "RETRY_PAUSE_S", 0.01)
    registry = ModelRegistry()

    cell = FORMATS.index(name) + len(FORMATS) * streaming
    homes = [new_home(tmp_path / str(number)) for number in range(len(FAULTS))]

    def ask(number: int) -> tuple[Outcome | BaseException, float]:
        began = time.monotonic()
        # A ledger of its own, for each failure is remembered.
        made = config(homes[number], here.urls, FAULTS[number].timeouts)
        way = (number + cell) % 4
        try:
            outcome: Outcome | BaseException = (call, call_through_own_client)[way // 2](
                made,
                registry,
                streaming=streaming,
                awaiting=way in (0, 2),
                label=str(number),
                prompt=f"fault {number} please",
                model=MODEL[name],
                fallback=[BACKUP[name]],
                enable_fallback=True,
                max_tokens=4,
            )
        except Exception as error:  # noqa: BLE001 (whatever is raised here is a bug, and is told below)
            outcome = error
        return outcome, time.monotonic() - began

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(ask, range(len(FAULTS))))
    wrong = [
        f"{fault.name}: {complaint}"
        for fault, (outcome, took_s) in zip(FAULTS, results, strict=True)
        if (complaint := _complaint(fault, outcome, took_s, name, streaming=streaming))
    ]
    assert not wrong, "\n".join(wrong)


def _complaint(fault: Fault, outcome: Outcome | BaseException, took_s: float, name: str, *, streaming: bool) -> str:
    if isinstance(outcome, BaseException):
        return f"a bug: {outcome!r}"
    if took_s > BOUNDED_S:
        return f"took {took_s:.1f} s"
    statuses = [row["status"] for row in outcome.rows]
    if not statuses or not set(statuses) <= {"ok", "failed", "partial"}:
        return f"rows {statuses}"
    kinds = fault.kinds_when(streaming=streaming)
    exits = {COMES_OF[kind] for kind in kinds}
    (wanted,) = exits
    first = outcome.rows[0]
    if (first["provider"], first["status"]) != (name, "partial" if kinds == {"shown"} else "failed"):
        return f"the first row is {first['provider']} {first['status']}"
    if kinds != {"shown"} and first["error"] not in kinds:
        return f"it is taken for {first['error']}: {outcome.error}"
    if wanted != ANSWERED:
        exit_code = outcome.error.exit_code if isinstance(outcome.error, LLMRouteError) else 0
        return "" if exit_code == wanted else f"exit {exit_code} instead of {wanted}"
    if outcome.response is None:
        return f"no answer: {outcome.error!r}"
    shown = "".join(outcome.pieces) if streaming else outcome.response.content
    if (shown, outcome.response.provider, statuses[-1]) != (TEXT, provider_of(BACKUP[name]), "ok"):
        return f"{shown!r} from {outcome.response.provider}"
    return ""

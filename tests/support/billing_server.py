"""A provider that bills everything that it was allowed to write, whatever became of its answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.fault_server import CLOSE, Pause, Reset, chunk, chunked_head, reply
from tests.support.provider_servers import delta, openai_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.fault_server import Received, Script

# OpenAI's gpt-4.1-mini, in pico-USD per token.
INPUT, OUTPUT = 400_000, 1_600_000
# What a model that was told no limit writes.
UNLIMITED_TOKENS = 32_768
LATE = Pause(30)

_HEAD = openai_answer("A whole answer.")
_ROLE = chunk(b'data: {"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n')
_COUNTING = chunk(
    b'data: {"choices": [{"index": 0, "delta": {"reasoning": ""}}],'
    b' "usage": {"prompt_tokens": 10, "completion_tokens": 1}}\n\n'
)

PLAIN: Mapping[str, Script] = {
    "late": [LATE],
    "half a head": [b"HTTP/1.1 200 OK\r\ncontent-le", LATE],
    "reset": [Reset()],
    "closed": CLOSE,
    "half a body": [_HEAD[:-20], Reset()],
    "a body that stalls": [_HEAD[:-20], LATE],
    "no JSON": [reply(200, b'{"choices": [{"mess')],
    "nothing": [reply(200, b"")],
    "no usage": [openai_answer(usage=False)],
    "empty without usage": [openai_answer("", usage=False)],
}
_RUNNING = chunk(
    b'data: {"choices": [{"index": 0, "delta": {"content": "Some "}}],'
    b' "usage": {"prompt_tokens": 10, "completion_tokens": 1}}\n\n'
)
_DONE = chunk(b"data: [DONE]\n\n")

STREAMED: Mapping[str, Script] = {
    "late": [LATE],
    "hidden reasoning that stalls": [chunked_head(), _ROLE, LATE],
    "hidden reasoning that breaks": [chunked_head(), _ROLE, Reset()],
    "reasoning, counted on the way, that breaks": [chunked_head(), _ROLE, _COUNTING, Reset()],
    "text that stalls": [chunked_head(), delta("Some "), LATE],
    "text that breaks": [chunked_head(), delta("Some "), Reset()],
    "text without an end": [chunked_head(), delta("Some "), chunk(b"")],
    "text and an error": [chunked_head(), delta("Some "), chunk(b'data: {"error": {"message": "no"}}\n\n'), chunk(b"")],
    "usage on the way": [chunked_head(), _RUNNING, delta("more"), delta("", "stop"), _DONE, chunk(b"")],
    "usage on the way, without a finish reason": [chunked_head(), _RUNNING, delta("more"), _DONE, chunk(b"")],
    "usage before more text": [chunked_head(), delta("", "stop"), _RUNNING, delta("more"), _DONE, chunk(b"")],
    "no usage": [chunked_head(), delta("Some "), delta("", "stop"), chunk(b"data: [DONE]\n\n"), chunk(b"")],
}


@dataclass
class Biller:
    """Answers with one script, and sums up its bill in pico-USD."""

    script: Script
    bill_picousd: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, received: Received) -> Script:
        body = json.loads(received.body)
        self.asked.append(body)
        prompt_tokens = sum(len(message["content"]) for message in body["messages"])
        most = body.get("max_completion_tokens") or body.get("max_tokens") or UNLIMITED_TOKENS
        self.bill_picousd += prompt_tokens * INPUT + most * OUTPUT
        return self.script

"""A model server whose answers are written down before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.model_server import ModelServer

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler


@dataclass
class ScriptedServer(ModelServer):
    """Answers each request with the next of `answers`, the last one again and again."""

    answers: list[str] = field(default_factory=lambda: ["hello"])

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self.words = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0],)
        super().answer(handler, body)

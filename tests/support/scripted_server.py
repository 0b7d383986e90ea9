"""A model server whose answers are written down before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.model_server import ModelServer


@dataclass
class ScriptedServer(ModelServer):
    """Answers each request with the next of `answers`, the last one again and again."""

    answers: list[str] = field(default_factory=lambda: ["hello"])

    def words_for(self, _body: dict[str, Any]) -> tuple[str, ...]:
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0],)

"""An answer that a provider ended with `finish_reason: "error"` is incomplete, whatever text it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.errors import IncompleteAnswerError
from llmroute.registry import ModelRegistry
from tests.support.wire_formats import BACKUP, MODEL, answer, streamed, town, whole
from tests.wire.calling import call, config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.support.fault_server import Script
    from tests.wire.calling import Outcome


def _call(serve: Callable[[str, dict[str, Any]], Script], home: Path, **options: Any) -> Outcome:
    with town(serve) as here:
        return call(config(home, here.urls), ModelRegistry(), label="hi", model=MODEL["mistral"], **options)


@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
def test_another_model_answers_in_place_of_one_that_ended_with_an_error(awaiting: bool, tmp_path: Path) -> None:
    def serve(name: str, _asked: dict[str, Any]) -> Script:
        return whole(name, "half an ans", "error") if name == "mistral" else answer(name, "whole", streaming=False)

    fallback = {"fallback": [BACKUP["mistral"]], "enable_fallback": True}
    outcome = _call(serve, tmp_path, streaming=False, awaiting=awaiting, **fallback)
    assert outcome.response is not None, outcome.error
    assert outcome.response.content == "whole"
    assert [row["error"] for row in outcome.rows][-1] is None
    assert {row["error"] for row in outcome.rows[:-1]} == {"bad_output"}
    assert all(row["cost_picousd"] for row in outcome.rows)


def test_a_stream_that_ended_with_an_error_is_incomplete(tmp_path: Path) -> None:
    def serve(name: str, _asked: dict[str, Any]) -> Script:
        return streamed(name, "half ", "an ans", finish="error")

    outcome = _call(serve, tmp_path, streaming=True, awaiting=False)
    assert isinstance(outcome.error, IncompleteAnswerError)
    assert "".join(outcome.pieces) == "half an ans"
    assert outcome.row["error"] == "bad_output"

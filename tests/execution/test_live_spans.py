"""Live spans: an attempt is a span of the program's own trace; without OpenTelemetry nothing of it is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llmroute
from tests.support.fault_server import serving
from tests.support.provider_servers import OPENAI, openai_answer, openai_error
from tests.support.shell import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EXPORTER = InMemorySpanExporter()
_PROVIDER = TracerProvider()
_PROVIDER.add_span_processor(SimpleSpanProcessor(_EXPORTER))


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: _PROVIDER)
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    _EXPORTER.clear()
    yield _EXPORTER
    _EXPORTER.clear()


def test_an_attempt_is_a_span_below_the_callers_own(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([openai_answer("Hello!")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        tracer = _PROVIDER.get_tracer("program")
        with closing(llmroute.LLMService()) as service, tracer.start_as_current_span("blocking"):
            service.generate_sync("hi", model=OPENAI)

        async def main() -> None:
            async with llmroute.LLMService() as service:
                with tracer.start_as_current_span("awaiting"):
                    await service.generate("hi", model=OPENAI)

        asyncio.run(main())
    first, blocking, second, awaiting = spans.get_finished_spans()
    for span, parent in ((first, blocking), (second, awaiting)):
        assert span.parent is not None
        assert span.parent.span_id == parent.context.span_id
        assert span.name == f"chat {OPENAI.removeprefix('openai/')}"
        assert span.kind == trace.SpanKind.CLIENT
        assert span.attributes is not None
        assert span.attributes["gen_ai.provider.name"] == "openai"
        assert span.attributes["llmroute.status"] == "ok"
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"
        assert "hi" not in map(str, span.attributes.values())


def test_a_failed_attempt_is_a_span_with_its_error(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([openai_error(401)]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with closing(llmroute.LLMService()) as service, pytest.raises(llmroute.AuthenticationError):
            service.generate_sync("hi", model=OPENAI, enable_fallback=False)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code == trace.StatusCode.ERROR
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == ("auth", 401)


def test_a_tracer_that_fails_does_not_fail_the_request(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(trace, "get_tracer", broken)
    with serving([openai_answer("Hello!")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with closing(llmroute.LLMService()) as service:
            assert service.generate_sync("hi", model=OPENAI).content == "Hello!"
    assert spans.get_finished_spans() == ()


PROGRAM = f"""
import sys, llmroute
print(llmroute.LLMService().generate_sync("hi", model="{OPENAI}").content)
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_a_program_without_opentelemetry_imports_none_of_it(tmp_path: Path) -> None:
    with serving([openai_answer("Hello!")]) as server:
        settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test-0123456789"}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment(tmp_path, **settings), capture_output=True, check=True
        )
    assert ran.stdout.decode().split("\n")[:2] == ["Hello!", "[]"]

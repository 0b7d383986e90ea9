"""The recorded exchanges, read where they lie; absent, the tests that need them are skipped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WIRE = Path(os.environ.get("LLMROUTE_WIRE") or ROOT.parent / "shared" / "wire")

needs_corpus = pytest.mark.skipif(not (WIRE / "corpus").is_dir(), reason=f"no recordings at {WIRE} (set LLMROUTE_WIRE)")
needs_specs = pytest.mark.skipif(not (WIRE / "specs").is_dir(), reason=f"no descriptions at {WIRE} (set LLMROUTE_WIRE)")

Item = dict[str, Any]


def items(kind: str | None = None) -> list[Item]:
    """Return the recorded exchanges, of one `kind` (chat, error, models, count_tokens) or all."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((WIRE / "corpus").glob("*/*.json"))]
    return [item for item in found if kind in (None, item["kind"])]


def params(kind: str, *, streaming: bool | None = None) -> list[Any]:
    """Return the items as pytest parameters that bear their ids."""
    chosen = [item for item in items(kind) if streaming is None or item["streaming"] is streaming]
    return [pytest.param(item, id=item["id"]) for item in chosen]


def body(item: Item) -> bytes:
    """Return the answer's bytes."""
    text: str = item["response"]["body_text"]
    return text.encode()


def headers(item: Item) -> dict[str, str]:
    """Return the answer's headers, in lower case."""
    return {name.lower(): str(value) for name, value in item["response"]["headers"].items()}


def spec(provider: str) -> dict[str, Any]:
    """Return a publisher's description of its API."""
    described: dict[str, Any] = json.loads((WIRE / "specs" / f"{provider}.json").read_text("utf-8"))
    return described

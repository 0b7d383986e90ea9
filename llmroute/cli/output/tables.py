"""Tables and JSON: the only module that formats for people.

Tables are made here because commands that print one need not load rich: `rich.table` with its console takes 120 ms of
CPU to import where typer takes 100.
"""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING, Any

from llmroute.cli.option_names import in_flags
from llmroute.cli.output.terminal import harmless
from llmroute.cli.output.text_width import cells, left, right, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmroute.types import AttemptRecord, LLMResponse, Usage

_NARROWEST_NAME = 20
_NARROWEST_TEXT = 12
_GAP = "  "
_FOUR_DECIMALS_USD = 0.0001
_LEAST_USD = 0.0000001


def attempt_as_json(attempt: AttemptRecord) -> dict[str, Any]:
    """Return one attempt with the fields that DESIGN fixes."""
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "status": attempt.status,
        "error": attempt.error,
        "http_status": attempt.http_status,
        "latency_ms": attempt.latency_ms,
        "cost_usd": attempt.cost_usd,
    }


def usage_as_json(usage: Usage) -> dict[str, Any]:
    """Return the five counters and where they come from."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "source": usage.source,
    }


def response_as_json(response: LLMResponse) -> dict[str, Any]:
    """Return an answer with the fields that DESIGN fixes."""
    return {
        "id": response.request_id,
        "content": response.content,
        "provider": response.provider,
        "model": response.model,
        "strategy": response.strategy,
        "chain": response.chain,
        "finish_reason": response.finish_reason,
        "prompt_cut": response.prompt_cut,
        "usage": usage_as_json(response.usage),
        "cost_usd": response.cost_usd,
        "latency_ms": response.latency_ms,
        "ttft_ms": response.ttft_ms,
        "attempts": [attempt_as_json(attempt) for attempt in response.attempts],
        "skipped": [{**skipped.as_dict(), "reason": in_flags(skipped.reason)} for skipped in response.skipped],
    }


def usage_line(response: LLMResponse) -> str:
    """Return tokens, cost and time of an answer in one line."""
    usage = response.usage
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    about = "" if usage.source == "reported" else "about "
    parts = [
        f"{response.provider}/{response.model}",
        f"{about}{_count(usage.input_tokens)} in{cached}",
        f"{about}{_count(usage.output_tokens)} out",
        money(response.cost_usd),
        f"{response.latency_ms / 1000:.1f} s",
    ]
    failed = [attempt for attempt in response.attempts[:-1] if attempt.status != "ok"]
    if failed:
        parts.append(f"fallback from {failed[0].provider}/{failed[0].model}")
    return " · ".join(parts)


def money(usd: float | None) -> str:
    """Return USD as people read it; an unknown cost is not nothing."""
    if usd is None:
        return "cost unknown"
    if usd == 0 or usd >= 1:
        return f"${usd:,.2f}"
    if usd < _LEAST_USD:
        return f"<${_LEAST_USD:.7f}"
    # Four decimals, or two digits that are not 0.
    return f"${usd:.4f}" if usd >= _FOUR_DECIMALS_USD else f"${usd:.{1 - floor(log10(usd))}f}".rstrip("0")


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else f"{tokens:,}"


def cell(text: str) -> str:
    """Return text of strangers as a cell of a table: on one line, and nothing in it that steers a terminal."""
    return harmless(text.replace("\n", "\x00").replace("\t", "\x00"))


def fitted(head: Sequence[str], rows: Sequence[Sequence[str]], name_at: int, width: int, numbers: Sequence[int]) -> str:
    """Return aligned plain text of which no line is longer than `width`, and no name is cut.

    A name that leaves no room stands on a line of its own above its facts.
    """
    others = [max(cells(row[at]) for row in (head, *rows)) for at in range(len(head)) if at != name_at]
    room = max(width - sum(others) - len(_GAP) * len(others), _NARROWEST_NAME)
    broken: list[Sequence[str]] = []
    for row in rows:
        if cells(row[name_at]) > room:
            broken.append([text if at <= name_at else "" for at, text in enumerate(row)])
            broken.append(["" if at <= name_at else text for at, text in enumerate(row)])
        else:
            broken.append(row)
    longest = max(wide for row in (head, *rows) if (wide := cells(row[name_at])) <= room)
    return columns(head, broken, numbers=numbers, widths={name_at: longest})


def flowing(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, numbers: Sequence[int] = ()) -> str:
    """Return aligned plain text whose last column is broken into lines, so that none is longer than `width`.

    Without a width, and where the other columns leave it no room, it stays whole.
    """
    if width is None:
        return columns(head, rows, numbers)
    others = [max(cells(row[at]) for row in (head, *rows)) for at in range(len(head) - 1)]
    room = width - sum(others) - len(_GAP) * len(others)
    if room < _NARROWEST_TEXT:
        return columns(head, rows, numbers)
    broken = []
    for *first, last in rows:
        line, *more = wrapped(last, room)
        broken += [[*first, line], *([*[""] * len(first), rest] for rest in more)]
    return columns(head, broken, numbers)


def columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    widths: Mapping[int, int] | None = None,
) -> str:
    """Return aligned plain text, the columns in `numbers` to the right.

    `widths` are columns whose cells may be longer: what stands beside such a cell must be empty.
    """
    table = [head, *rows]
    fixed = widths or {}
    spans = [fixed.get(column) or max(cells(row[column]) for row in table) for column in range(len(head))]
    lines = []
    for row in table:
        padded = [
            right(text, width) if column in numbers else left(text, width)
            for column, (text, width) in enumerate(zip(row, spans, strict=True))
        ]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines) + "\n"

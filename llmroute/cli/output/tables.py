"""Tables, and the JSON form of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.cli.flag_names import in_flags
from llmroute.cli.output.terminal import harmless, rich_console
from llmroute.text.money import money

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from llmroute.types import AttachmentFacts, AttemptRecord, LLMResponse, Usage

_UNLIMITED_COLUMNS = 100_000
_GAP = "  "


def attempt_as_json(attempt: AttemptRecord) -> dict[str, Any]:
    """Return an attempt as the documented JSON object."""
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
    """Return the five token counters and their source."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "source": usage.source,
    }


def attachments_as_json(attachments: tuple[AttachmentFacts, ...]) -> dict[str, Any]:
    """Return the field of the attachments; none where nothing is attached."""
    return {"attachments": [attachment.as_dict() for attachment in attachments]} if attachments else {}


def response_as_json(response: LLMResponse) -> dict[str, Any]:
    """Return a response as the documented JSON object."""
    return {
        "id": response.request_id,
        "content": response.content,
        **({} if response.parsed is None else {"parsed": response.parsed}),
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
        **attachments_as_json(response.attachments),
        "skipped": [{**skipped.as_dict(), "reason": in_flags(skipped.reason)} for skipped in response.skipped],
    }


def usage_line(response: LLMResponse) -> str:
    """Return one line with the tokens, cost and latency of a response."""
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


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else f"{tokens:,}"


def cell(text: str) -> str:
    """Return untrusted text as a table cell: one line without terminal control characters."""
    return harmless(text.replace("\n", "\x00").replace("\t", "\x00"))


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return an aligned plain-text table; the columns in `numbers` are right-aligned."""
    return rendered([_table(head, rows, numbers)])


def flowing(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, numbers: Sequence[int] = ()) -> str:
    """Return a table whose last column wraps at spaces to fit `width`, if any.

    If its longest word does not fit beside the other columns, each last cell is printed below its row.
    """
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    if width is None:
        return columns(head, rows, numbers)
    longest_word = max((cell_len(word) for row in rows for word in row[-1].split()), default=0)
    if width - _span(head, rows, range(len(head) - 1)) >= longest_word:
        return rendered([_table(head, rows, numbers, wrap_last=True)], width)
    first, *lines = columns(head[:-1], [row[:-1] for row in rows], numbers).splitlines()
    parts: list[RenderableType] = [Text(first)]
    for line, row in zip(lines, rows, strict=True):
        parts.append(Text(line))
        if row[-1]:
            parts.append(Padding(Text(harmless(row[-1])), (0, 0, 0, len(_GAP))))
    return rendered(parts, width)


def fitted(
    head: Sequence[str], rows: Sequence[Sequence[str]], name_at: int, width: int, numbers: Sequence[int] = ()
) -> str:
    """Return a table that fits `width`, except for names, which are never cut or wrapped so that they can be copied.

    A name that does not fit is printed on its own line above the rest of its row: `rich.table` has no spanning cells.
    If the other columns do not fit beside each other, each row is a name with its labeled cells below.
    """
    from rich.cells import cell_len

    others = [at for at in range(len(head)) if at != name_at]
    if _span(head, rows, others) + cell_len(head[name_at]) > width:
        return _stacked(head, rows, name_at, width)
    room = width - _span(head, rows, others)
    names = [harmless(row[name_at]) for row in rows]
    short = [
        [*row[:name_at], "" if cell_len(row[name_at]) > room else row[name_at], *row[name_at + 1 :]] for row in rows
    ]
    first, *lines = columns(head, short, numbers).splitlines()
    start = _span(head, rows, range(name_at))
    text = first + "\n"
    for line, name in zip(lines, names, strict=True):
        text += f"{line}\n" if cell_len(name) <= room else f"{line[:start]}{name}\n{' ' * start}{line[start:]}\n"
    return text


def _stacked(head: Sequence[str], rows: Sequence[Sequence[str]], name_at: int, width: int) -> str:
    """Return each row as its name and, below and indented, its other cells with their column names."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for row in rows:
        lines: list[str] = []
        for at, value in enumerate(row):
            if at == name_at or not value:
                continue
            field = harmless(f"{head[at]} {value}".strip())
            if lines and cell_len(lines[-1] + _GAP + field) <= width - len(_GAP):
                lines[-1] += _GAP + field
            else:
                lines.append(field)
        parts.append(Text(harmless(row[name_at]), overflow="ignore", no_wrap=True))
        parts += [Padding(Text(line), (0, 0, 0, len(_GAP))) for line in lines]
    return rendered(parts, width)


def rendered(parts: Iterable[RenderableType], width: int | None = None, *, color: bool = False) -> str:
    """Return rich renderables as text for a terminal of `width` columns, or unwrapped if `width` is None."""
    from io import StringIO

    out = StringIO()
    console = rich_console(out, width or _UNLIMITED_COLUMNS, color=color)
    for part in parts:
        console.print(part, highlight=False)
    text = out.getvalue()
    return text if color else "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int], *, wrap_last: bool = False
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False, header_style="")
    for at, name in enumerate(head):
        wraps = wrap_last and at == len(head) - 1
        table.add_column(name, justify="right" if at in numbers else "left", no_wrap=not wraps, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(text)) for text in row))
    return table


def _span(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: Iterable[int]) -> int:
    """Return the width of the chosen columns, each with the gap to its right."""
    from rich.cells import cell_len

    return sum(max(cell_len(row[at]) for row in (head, *rows)) + len(_GAP) for at in chosen)

"""The parts of an answer, accumulated by the readers of all wire formats."""

from __future__ import annotations

from llmroute.providers.wire.think_tags import ThinkTags
from llmroute.types import Chunk, Completion, Service, Usage

FINISH_REASONS = {
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "content_filter",
}
"""The finish reasons of providers and the common ones; the common ones map to themselves."""


class TextBuffer:
    """Text in parts. A surrogate is held until the other half of its pair arrives."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""

    def add(self, piece: str) -> str:
        """Add a part; return the text that can be shown."""
        if self._half:
            piece, self._half = self._half + piece, ""
        if not piece:
            return ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        piece = sound(piece)
        self._pieces.append(piece)
        return piece

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return (self._pieces[0] if self._pieces else "") + ("\ufffd" if self._half else "")


def sound(piece: str) -> str:
    """Join surrogate pairs, and replace single surrogates: the result can always be encoded."""
    if piece.isascii():
        return piece
    try:
        piece.encode()
    except UnicodeEncodeError:
        return piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return piece


class Answer:
    """One answer, as far as it has been read."""

    def __init__(self, *, think_tags: bool = False) -> None:
        self._tags = ThinkTags() if think_tags else None
        self.text = TextBuffer()
        self.thinking = TextBuffer()
        self.refusal = TextBuffer()
        self.tools: dict[object, str] = {}
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.usage_final = False
        self.service = Service()
        self.model: str | None = None
        self.request_id: str | None = None

    def add(self, text: str, thinking: str = "") -> Chunk | None:
        """Add a delta; return it as a chunk, unless it is empty."""
        if text and self._tags:
            text, thought = self._tags.split(text)
            thinking += thought
        shown = self.text.add(text) if text else ""
        thought = self.thinking.add(thinking) if thinking else ""
        return Chunk(shown, thought) if shown or thought else None

    def add_tool(self, key: object, name: str) -> None:
        """Add a tool call's name, or the next part of it; `key` None starts a new call."""
        if key is None:
            key = f"call {len(self.tools)}"
        known = self.tools.get(key, "")
        self.tools[key] = known if name == known else known + sound(name)

    def identify(self, model: object, request_id: object) -> None:
        """Record the model's name and the first id of the answer."""
        if model != self.model and isinstance(model, str) and model:
            self.model = sound(model)
        if self.request_id is None and isinstance(request_id, str) and request_id:
            self.request_id = sound(request_id)

    def finish(self, reason: object) -> None:
        """Record the finish reason, as the common one; an unknown reason is kept unchanged."""
        if isinstance(reason, str) and reason:
            self.finish_reason = FINISH_REASONS.get(reason, sound(reason))

    def completion(self) -> Completion:
        """Return the answer so far."""
        held_text, held_thinking = self._tags.rest() if self._tags else ("", "")
        text, thinking = str(self.text) + held_text, str(self.thinking) + held_thinking
        refusal = str(self.refusal) or None
        thought = bool(thinking or self.usage.reasoning_tokens)
        warning = None
        if self.finish_reason == "length" and thought and not text.strip() and not self.tools:
            warning = "no answer: all output tokens went into reasoning"
        return Completion(
            text=text,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model=self.model,
            request_id=self.request_id,
            thinking=thinking,
            refusal=refusal,
            tool_calls=tuple(name or "?" for name in self.tools.values()),
            warning=warning,
            usage_final=self.usage_final,
            service=self.service,
        )


def reported(  # noqa: PLR0913 (one for each counter)
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    cached: int | None = None,
    cache_write: int | None = None,
    cache_write_1h: int | None = None,
    reasoning: int | None = None,
) -> Usage:
    """Return usage as reported; without counts of prompt and answer it is not reported."""
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=cache_write,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        cache_write_1h_tokens=cache_write_1h,
        source="none" if input_tokens is None and output_tokens is None else "reported",
    )

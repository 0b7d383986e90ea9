"""Texts that name options: a library's caller reads their names, and the command line puts its flags in their place."""

# No postponed annotations: see types.
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self


class Remedy(NamedTuple):
    """An option by its name in the library, and the value that would help; None where the name says enough.

    `words` are how the library names it, where that is not how an argument is written.
    """

    option: str
    value: bool | float | None = None
    words: str | None = None

    def __str__(self) -> str:
        """As an argument is written: `max_tokens`, `min_quality=80`, `budget_remaining=0.000500`."""
        if self.words is not None:
            return self.words
        return self.option if self.value is None else f"{self.option}={self.figure}"

    @property
    def figure(self) -> str:
        """The value as text, USD to the millionth."""
        return f"{self.value:.6f}" if isinstance(self.value, float) else str(self.value)


class OptionText(str):
    """A text that keeps which of its parts name options; as a string it is what a library's caller reads.

    Pickles and copies keep the parts; concatenations with `+` and f-strings do not.
    """

    __slots__ = ("parts",)
    parts: tuple[str | tuple[Remedy, ...], ...]

    def __new__(cls, *parts: str | Remedy | tuple[Remedy, ...]) -> Self:
        """Join the parts; remedies in one tuple are arguments of one call."""
        flat: list[str | tuple[Remedy, ...]] = []
        for part in parts:
            flat.extend(
                part.parts if isinstance(part, OptionText) else ((part,) if isinstance(part, Remedy) else part,)
            )
        made = super().__new__(cls, _joined(flat, lambda remedies: ", ".join(map(str, remedies))))
        made.parts = tuple(flat)
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str | tuple[Remedy, ...], ...]]:
        return type(self), self.parts

    def spelled_by(self, spelled: Callable[[tuple[Remedy, ...]], str]) -> str:
        """Return the text with its remedies as another interface spells them."""
        return _joined(self.parts, spelled)


def _joined(parts: Iterable[str | tuple[Remedy, ...]], spelled: Callable[[tuple[Remedy, ...]], str]) -> str:
    return "".join(part if isinstance(part, str) else spelled(part) for part in parts)


def remedies_of(*texts: str | None) -> tuple[Remedy, ...]:
    """Return the remedies that texts name, in order."""
    named = [part for text in texts if isinstance(text, OptionText) for part in text.parts if not isinstance(part, str)]
    return tuple(remedy for remedies in named for remedy in remedies)

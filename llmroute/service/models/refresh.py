"""Update the catalogue on command: fetch, merge, compare; changes apply only after confirmation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute.errors import ConfigError, LLMRouteError, RequestError, TransientError
from llmroute.files import cannot_write
from llmroute.providers import PROVIDERS
from llmroute.registry import refresh
from llmroute.registry.catalogue_file import PREVIOUS, load, shipped_catalogue, write_catalogue
from llmroute.registry.genai_prices import DATA_URL
from llmroute.registry.lifecycle import lifecycle
from llmroute.registry.list_merge import compare_live, merge_live
from llmroute.registry.row_parser import model_from_row
from llmroute.service.models.live_models import fetch_lists
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.redaction import public
from llmroute.types import HTTPRequest
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from llmroute.registry.refresh import Change
    from llmroute.service.core import ServiceCore

CONNECT_S = 5.0
FETCH_S = 60.0
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Refresh:
    """An updated catalogue that is not in use yet.

    `changes` are the differences from the one in use, `served` the models that only the providers list
    or only the catalogue; `failures` are the errors by provider.
    """

    path: Path
    old: dict[str, Any]
    new: dict[str, Any]
    changes: tuple[Change, ...]
    served: tuple[Change, ...] = ()
    failures: dict[str, LLMRouteError] = field(default_factory=dict)

    def check(self, *, force: bool = False) -> None:
        """Check that the catalogue can be used; `force` accepts price changes of any size.

        Raises:
            RequestError: it may not; the message names the model and the reason.
        """
        refresh.check(self.old, self.new, force=force)
        if self.new["as_of"] < (own := shipped_catalogue()["as_of"]):
            raise RequestError(f"the data is of {self.new['as_of']}, and llmroute came with a catalogue of {own}")

    def take(self) -> Path | None:
        """Use it from now on; return the path of the previous one, None if there was none.

        Raises:
            RequestError: there is no place for it; the previous one is still in use.
            OutputError: it could not be written, likewise.
        """
        existed = self.path.exists()
        try:
            write_catalogue(self.path, self.new)
        except OSError as error:
            raise cannot_write(f"{self.path}:", error) from error
        return self.path.with_name(PREVIOUS) if existed else None


def prepare(
    core: ServiceCore,
    source: str | None = None,
    *,
    watch: Callable[[str, int, int | None], None] = lambda _what, _done, _total: None,
) -> Refresh:
    """Return the catalogue with new prices from `source`, and with what the providers' own lists say.

    `source` is an address or a file; with a file, nothing is sent. `watch` is called with the name of the download, the
    received bytes and the total bytes, None where unknown.

    Raises:
        RequestError: the data cannot be read or is not sound.
        AttemptError: the address did not answer with data.
    """
    source = source or DATA_URL
    today = core.registry.today
    old, _ = load(core.models.catalogue_path)
    remote = source.startswith(("http://", "https://"))
    data = _fetched(core, source, watch) if remote else _read(source)
    try:
        merged = refresh.merge_file(old, data, today)
    except RequestError as error:
        place = public(source) if remote else source
        raise RequestError(f"{place}: {error.message}", hint=error.hint) from error
    if not remote:
        return Refresh(core.models.catalogue_path, old, merged, refresh.diff(old, merged))
    watch("the providers' lists", 0, None)
    return _with_lists(core, old, merged, today)


def _with_lists(core: ServiceCore, old: dict[str, Any], merged: dict[str, Any], today: date) -> Refresh:
    """Merge the lists of the providers that have a key.  Local models have neither prices nor retirement dates."""
    requested = [name for name, row in PROVIDERS.items() if row.needs_key and core.endpoints.why_unusable(name) is None]
    failures: dict[str, LLMRouteError] = {
        name: ConfigError(f"{name}: its address comes from .env in the working directory")
        for name in requested
        if core.config.providers[name].found_address
    }
    requested = [name for name in requested if name not in failures]
    served: list[Change] = []
    for name, answer in fetch_lists(core, requested).items():
        if isinstance(answer, LLMRouteError):
            failures[name] = answer
            continue
        listed = [model._asdict() for model in answer]
        try:
            merged = merge_live(merged, name, listed, today)
        except RequestError as error:
            failures[name] = error
            continue
        over = {_name(row) for row in merged["models"] if lifecycle(model_from_row(row), today) == "retired"}
        served += [change for change in compare_live(merged, name, listed) if change.model not in over]
    return Refresh(core.models.catalogue_path, old, merged, refresh.diff(old, merged), tuple(served), failures)


def _name(row: dict[str, Any]) -> str:
    return f"{row['provider']}/{row['id']}"


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise RequestError(f"{name} cannot be read: {error.strerror}") from error


def _fetched(core: ServiceCore, url: str, watch: Callable[[str, int, int | None], None]) -> bytes:
    from llmroute.urls import is_loopback

    if url.startswith("http:") and not is_loopback(url):
        raise RequestError(f"{public(url)}: prices are not fetched over plain http (use https)")
    until = time.monotonic() + FETCH_S
    request = HTTPRequest("GET", url, {})
    with core.resources.blocking_sender().open(request, connect_s=CONNECT_S, answer_s=FETCH_S - CONNECT_S) as exchange:
        length = exchange.headers.get("content-length", "")
        known = length.isdecimal() and len(length) <= _MOST_DIGITS and "content-encoding" not in exchange.headers
        body = bytearray()
        for piece in exchange.pieces(lambda: max(until - time.monotonic(), 0.001)):
            body += piece
            watch("prices", len(body), int(length) if known else None)
    if exchange.status != HTTP_OK:
        raise TransientError(
            f"{public(url)} answers {exchange.status}",
            hint=OptionText(Remedy("source"), " names a file or another address"),
        )
    return bytes(body)

"""A cache of the limits of local models, in the config directory, because most processes make a single call."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute import files
from llmroute.after_fork import start_anew_in_children
from llmroute.errors import ContextLengthError, ParameterError
from llmroute.planning.no_candidate import SHORTEN
from llmroute.providers import ListedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import ModelConfig

FILE = "local-models.json"
KEPT_S = 86_400.0
"""How long an answer holds for a model whose digest is the same."""
KEPT_UNSEEN_S = 60.0
"""How long it holds where the server's list gives no digest: the model may be another by now."""
LOADED_S = 300.0
"""How long a server keeps a model that is not called, unless configured differently."""
_MOST_BYTES = 1_000_000


class LocalModelCache:
    """The limits of the models of one server, which `mark` stands for.  Safe to share between threads."""

    def __init__(self, path: Path, mark: Callable[[], str], now_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._mark = mark
        self._now_s = now_s
        self._rows: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def find(self, api_name: str, digest: str | None) -> ListedModel | None:
        """Return the limits of a model, None where they are too old or belong to another model of that name."""
        with self._lock:
            row = self._read().get(self._key(api_name))
        if row is None:
            return None
        same = digest is not None and digest == row.get("digest")
        age_s = self._now_s() - row["at_s"]
        if not 0 <= age_s < (KEPT_S if same else KEPT_UNSEEN_S) or (digest and row.get("digest") and not same):
            return None
        can = row["capabilities"]
        loaded = row.get("loaded_window") if 0 <= self._now_s() - row.get("loaded_s", 0) < LOADED_S else None
        return ListedModel(
            api_name,
            context_window=row["context_window"],
            own_window=max(row["own_window"] or 0, loaded or 0) or None,
            capabilities=None if can is None else frozenset(can),
        )

    def keep(self, api_name: str, digest: str | None, reported: ListedModel) -> None:
        """Store the limits of a model; if the file cannot be written, they are kept in this process."""
        row = {
            "digest": digest,
            "at_s": self._now_s(),
            "context_window": reported.context_window,
            "own_window": reported.own_window,
            "capabilities": None if reported.capabilities is None else sorted(reported.capabilities),
        }
        with self._lock:
            rows = self._read()
            rows[self._key(api_name)] = row
            oldest_s = self._now_s() - KEPT_S
            self._rows = {name: entry for name, entry in rows.items() if entry["at_s"] > oldest_s}
            self._write()

    def keep_window(self, api_name: str, window: int) -> None:
        """Keep the window that a model was just called with; written when it changes, and now and then."""
        with self._lock:
            row = self._read().get(self._key(api_name))
            if row is None:
                return
            stale = self._now_s() - row.get("loaded_s", 0) > LOADED_S / 5
            if stale or row.get("loaded_window") != window:
                row |= {"loaded_window": window, "loaded_s": self._now_s()}
                self._write()

    def _key(self, api_name: str) -> str:
        # The mark stands for the address, which may have a password in it.
        return f"{self._mark()} {api_name}"

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._rows is None:
            try:
                with self._path.open("rb") as file:
                    reported = json.loads(file.read(_MOST_BYTES))
                self._rows = {name: row for name, row in reported.items() if _is_row(row)}
            except (OSError, ValueError, AttributeError, RecursionError):
                self._rows = {}
        return self._rows

    def _write(self) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._path, json.dumps(self._rows).encode())


def with_limits(model: ModelConfig, reported: ListedModel) -> ModelConfig:
    """Return a model with the limits of its server, which override the catalogue's."""
    return replace(
        model,
        context_window=reported.context_window or model.context_window,
        own_window=reported.own_window,
        # No server states every capability, so that none takes one away.
        capabilities=model.capabilities | (reported.capabilities or frozenset()),
    )


def limited(model: ModelConfig, reported: ListedModel, size: PromptSize) -> ModelConfig:
    """As `with_limits`, for a prompt of this size, which must fit.

    Raises:
        ContextLengthError: it does not.
        ParameterError: the model does not take the attachments.
    """
    known = with_limits(model, reported)
    if reported.capabilities is not None and (lacking := size.capabilities - known.capabilities):
        # Some servers drop images without an error.
        raise ParameterError(f"{model.name}: lacks {', '.join(sorted(lacking))}")
    if (problem := size.for_model(known).too_long(known.context_window)) is not None:
        raise ContextLengthError(f"{model.name}: {problem}", hint=SHORTEN)
    return known


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not all(isinstance(row.get(at, 0), int | float) for at in ("at_s", "loaded_s")):
        return False
    if not {"at_s", "context_window", "own_window", "capabilities"} <= row.keys():
        return False
    limits = (row.get("context_window"), row.get("own_window"), row.get("loaded_window"))
    can = row.get("capabilities")
    return (
        all(limit is None or (isinstance(limit, int) and limit > 0) for limit in limits)
        and (can is None or (isinstance(can, list) and all(isinstance(word, str) for word in can)))
        and isinstance(row.get("digest"), str | None)
    )

"""How far the exports to collectors have come, by URL, ledger and selection."""

from __future__ import annotations

import json
from dataclasses import astuple
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from llmroute.files import cannot_write, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.ledger.port import LedgerSnapshot
    from llmroute.service.costs.attempts import Selection

POSITIONS_FILE: Final = "otlp-export.json"
"""The file in the config directory."""


class Position:
    """The last attempt that was sent to a URL; all before it were sent too."""

    def __init__(self, config: Config, url: str, selection: Selection) -> None:
        self._path: Path = config.config_dir / POSITIONS_FILE
        named = json.dumps([url, config.ledger.name, astuple(selection)])
        self._key = sha256(named.encode()).hexdigest()

    def read(self, reading: LedgerSnapshot) -> int:
        """Return the id of the attempt; 0 where none is kept, or the ledger is another one: restored, or begun anew.

        An attempt that was pruned since has later ones after it.
        """
        from llmroute.ledger.port import AttemptFilter

        match self._all().get(self._key):
            case [int(row_id), str(request_id), int(attempt)]:
                found = reading.attempts_after(row_id - 1, 1, AttemptFilter())
                is_same = bool(found) and (found[0]["id"] > row_id or _mark(found[0]) == [row_id, request_id, attempt])
                return row_id if is_same else 0
        return 0

    def write(self, attempt: Mapping[str, Any]) -> None:
        """Keep the position.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace(self._path, json.dumps(self._all() | {self._key: _mark(attempt)}).encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _all(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return stored if isinstance(stored, dict) else {}


def _mark(attempt: Mapping[str, Any]) -> list[Any]:
    return [attempt["id"], attempt["request_id"], attempt["attempt"]]

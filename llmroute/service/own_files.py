"""The files of llmroute itself, which no output of a command replaces."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from llmroute.config import FILE
from llmroute.config.env import ENV_FILE
from llmroute.config.file import SNAPSHOT
from llmroute.errors import RequestError
from llmroute.files import is_same_file
from llmroute.ledger import spool
from llmroute.ledger.jobs import files_of_jobs
from llmroute.ledger.maintenance import KeptFor
from llmroute.planning.default_registry import catalogue_path
from llmroute.registry.catalogue_file import PREVIOUS
from llmroute.service.costs.exports.positions import POSITIONS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.config import Config


def require_other_file(config: Config, file: Path) -> None:
    """Refuse to write a report or results to a file that llmroute itself reads.

    Raises:
        RequestError: the file, also through a link, is one of them.
    """
    if any(is_same_file(file, own) for own in _own(config)):
        raise RequestError(f"{file} is a file of llmroute itself, which this would replace", hint="name another")


def _own(config: Config) -> Iterator[Path]:
    """Yield the ledger, the files beside it, the settings, the catalogue and the positions of exports.

    They need not exist.
    """
    path = config.ledger.path
    yield from (Path(f"{path}{ending}") for ending in ("", "-wal", "-shm", "-journal"))
    for reason in get_args(KeptFor):
        yield from path.parent.glob(f"{escape(path.name)}.{reason}-*")
    yield from files_of_jobs(path).glob("*")
    for place in spool.places(path):
        yield from (place, spool.bad(place))
    yield from (config.config_dir / name for name in (FILE, SNAPSHOT, ENV_FILE, POSITIONS_FILE, PREVIOUS))
    yield catalogue_path(config.config_dir)
    yield Path(ENV_FILE)

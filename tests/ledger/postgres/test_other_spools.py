"""Rows that wait for other URLs are found, also where the configuration directory was not writable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.ledger import spool
from llmroute.ledger.postgres.maintenance.other_spools import of_other_servers
from llmroute.ledger.spool.rows import SpooledRow
from tests.ledger.calls import row, settled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration directory; the folder for spools of those that are not writable is beside it."""
    folder = tmp_path / "llmroute"
    folder.mkdir()
    return folder


def kept_elsewhere(ledger: Path, elsewhere: Path) -> Path:
    """Keep a row as in a configuration directory that is not writable."""
    _, place = spool.places(ledger, elsewhere)
    spool.make_room(place, beside=ledger.parent)
    place.write_bytes(SpooledRow(settled(row("one"), 7)).line() + b"\n")
    return place


@pytest.mark.parametrize("suffix", ["caps", "spool"])
def test_a_spool_elsewhere_is_found_by_the_files_of_its_server_beside_the_ledger(suffix: str, folder: Path) -> None:
    place = kept_elsewhere(folder / "server-1", folder.parent)
    assert of_other_servers(folder / "server-2", folder.parent) == []
    (folder / f"server-1.{suffix}").write_text("[]")
    beside = [folder / "server-1.spool"] if suffix == "spool" else []
    assert of_other_servers(folder / "server-2", folder.parent) == sorted([*beside, place])
    assert of_other_servers(folder / "server-1", folder.parent) == []


def test_a_spool_elsewhere_is_found_by_the_caps_with_it(folder: Path) -> None:
    of_file = kept_elsewhere(folder / "ledger.db", folder.parent)
    of_server = kept_elsewhere(folder / "server-1", folder.parent)
    of_server.with_suffix(".caps").write_text("[]")
    assert of_other_servers(folder / "server-2", folder.parent) == [of_server]
    assert of_other_servers(folder / "server-1", folder.parent) == []
    assert of_file.exists()


def test_a_spool_in_a_folder_that_others_can_enter_is_not_named(folder: Path) -> None:
    place = kept_elsewhere(folder / "server-1", folder.parent)
    place.with_suffix(".caps").write_text("[]")
    (folder / "server-1.caps").write_text("[]")
    place.parent.chmod(0o755)
    assert of_other_servers(folder / "server-2", folder.parent) == []

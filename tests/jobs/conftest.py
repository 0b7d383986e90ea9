"""A home directory with four vendors, for each test of batch jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jobs.homes import Home
from tests.support.batch_vendor import BatchVendor
from tests.support.fault_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def vendor() -> BatchVendor:
    return BatchVendor()


@pytest.fixture
def home(tmp_path: Path, vendor: BatchVendor) -> Iterator[Home]:
    with serving(vendor.answer) as server:
        yield Home(tmp_path, vendor, server)

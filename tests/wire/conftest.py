"""What the tests of this folder share: the catalogue is read once."""

from __future__ import annotations

import pytest

from llmroute.registry import ModelRegistry


@pytest.fixture(scope="session")
def registry() -> ModelRegistry:
    return ModelRegistry()

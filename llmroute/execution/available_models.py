"""The models to choose from: the catalogue, those of the local server, and the statistics of earlier calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.circuits import tier_of_circuits
from llmroute.planning.candidates import Candidates
from llmroute.planning.local.local_models import LOCAL_SERVER, LocalModels
from llmroute.planning.local.model_cache import FILE, LocalModelCache
from llmroute.planning.model_stats import StatsEstimator
from llmroute.routing.check_results import CheckResults, difficulty
from llmroute.routing.latency_estimate import bucket
from llmroute.routing.strategies import chance_of_quality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.planning.endpoints import Endpoints
    from llmroute.registry import ModelRegistry
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.transport.loop_sender import AnySender


class AvailableModels:
    """The candidates of requests; nothing is sent but a query to the local server, whose models come and go.

    `note` receives a warning about the catalogue.  Safe to share between threads.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        config: Config,
        endpoints: Endpoints,
        writer: LedgerWriter,
        note: Callable[[str], None],
        *,
        registry: ModelRegistry | None,
        sender: Callable[[], AnySender],
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._writer = writer
        self._note = note
        self._registry = registry
        self.local_models = LocalModels(
            lambda: endpoints.connect(LOCAL_SERVER),
            sender,
            LocalModelCache(config.config_dir / FILE, lambda: endpoints.fingerprint(LOCAL_SERVER)),
        )
        # Concurrent requests are planned in threads of their own.
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    @property
    def catalogue_path(self) -> Path:
        """Where a refreshed catalogue is kept."""
        from llmroute.planning.default_registry import catalogue_path

        return catalogue_path(self._config.config_dir)

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue, read when it is first needed."""
        with self._lock:
            if self._registry is None:
                from llmroute.planning.default_registry import registry_of

                self._registry = registry_of(self._config.config_dir, self._config.models)
                if self._registry.warning:
                    self._note(self._registry.warning)
            return self._registry

    def candidates(
        self,
        size: PromptSize,
        task: str | None = None,
        *,
        patience: LockTimeout | None = None,
        paced: bool = False,
        local_only: bool = False,
    ) -> Candidates:
        """Return the models that could serve a prompt of a size, with the statistics of earlier calls."""
        snapshot = self._writer.statistics.recall(
            bucket=bucket(size.typical_input), task=task or "", now_ms=self._writer.access.now_ms(), patience=patience
        )
        registry, endpoints = self.registry, self._endpoints
        stats = StatsEstimator(
            snapshot,
            endpoints.fingerprint,
            registry,
            effort=size.effort,
            tier=tier_of_circuits(size.tier),
            paced=paced,
            difficulty=0.0 if snapshot is None else self._difficulty(snapshot.check_results),
        )
        return Candidates(
            registry,
            size,
            stats=stats,
            why_unusable=endpoints.why_unusable,
            here=self.local_models,
            has_own_address=endpoints.has_own_address,
            local_only=local_only,
        )

    def _difficulty(self, results: Mapping[tuple[str, str], tuple[float, float]]) -> float:
        """Return how hard a task has been for the models whose answers to it were checked."""
        registry = self.registry
        return difficulty(
            (
                chance_of_quality(registry.expected_quality(registry.get_model_config(*about)).value),
                CheckResults(*counts),
            )
            for about, counts in results.items()
        )

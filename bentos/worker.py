"""What one worker process of the valuation service holds: its settings, release, log and counters."""

from __future__ import annotations

import logging
import os
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hedonic.data.contract import parse_contract
from hedonic.model.manifest import CONTRACT
from hedonic.serving.answering import Answering
from hedonic.serving.fast_path import PREDICT_PATHS
from hedonic.serving.feedback import Feedback
from hedonic.serving.guard import INVOCATIONS
from hedonic.serving.guard_settings import GuardSettings, read_guard_settings
from hedonic.serving.observed_predictor import observed
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.rollout import Rollout, Served
from hedonic.serving.schema import RequestSchema
from hedonic.serving.source import Source, baked_source, champion_source
from hedonic.serving.traffic_metrics import TrafficMetrics
from hedonic.settings import LogSettings, load_settings

ROUTES = (
    *sorted(PREDICT_PATHS), INVOCATIONS, "/explain", "/feedback", "/model/info", "/schema", "/health",
    "/healthz", "/livez", "/readyz", "/ping", "/metrics", "/docs.json",
)  # fmt: skip
"""Paths that the metrics name; all others are counted together."""


class Worker:
    """The parts of a worker, each made when it is first asked for."""

    def __init__(self) -> None:
        """Hold nothing yet: the service loads its release when it starts."""
        self.rollout: Rollout | None = None
        self.answering: Answering | None = None

    @cached_property
    def guard_settings(self) -> GuardSettings:
        """Return the guard's settings."""
        return read_guard_settings(os.environ)

    @cached_property
    def metrics(self) -> TrafficMetrics:
        """Return the counters of this process."""
        return TrafficMetrics(ROUTES, log_drops=lambda: self.log.dropped if self.log else 0)

    @cached_property
    def log(self) -> PredictionLog | None:
        """Return the log of answers; None where none is to be kept, or there is nowhere to keep it."""
        settings = LogSettings()
        if settings.url is None or settings.prediction_log_mode == "off":
            logging.getLogger("hedonic.serving").warning(
                "answers are not logged: set HEDONIC_PREDICTION_LOG_URL"
            )
            return None
        return PredictionLog.open(settings.url, mode=settings.prediction_log_mode)

    @cached_property
    def feedback(self) -> Feedback | None:
        """Return the reported sale prices, kept beside the log of answers."""
        url = LogSettings().url
        return Feedback(PredictionLogStore(url)) if url else None

    @property
    def served(self) -> Served | None:
        """Return what is served now; None before a release is loaded and after the service is shut down."""
        return self.rollout.served if self.rollout else None

    def open(self) -> None:
        """Load and verify the release, and answer by it from now on.

        Raises:
            HedonicError: there is none, or it is not what it should be.
        """
        rollout = self.rollout = Rollout(self._load, find_source())
        self.answering = Answering(lambda: rollout.served.release, self.log)

    def close(self) -> None:
        """Answer no more, and write down what is still in the log's buffer."""
        self.rollout = self.answering = None
        if self.log:
            self.log.close()

    def _load(self, source: Source) -> Release:
        return observed(load_release(source.folder, source.release), self.metrics.answered)


WORKER = Worker()


def find_source() -> Source:
    """Return where the release to be served is."""
    code = Path(__file__).resolve().parents[1]
    if baked := baked_source(code):
        return baked
    settings = load_settings(code)
    return champion_source(settings.home, settings.dataset)


@cache
def request_schema() -> dict[str, Any]:
    """Return the JSON schema of a request to the release to be served, for the documentation."""
    contract = parse_contract((find_source().folder / CONTRACT).read_text(encoding="utf-8"))
    return RequestSchema(contract).json_schema()

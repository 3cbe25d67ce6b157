"""What one worker process of the valuation service holds: its settings, release, log and counters."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import cache, cached_property
from pathlib import Path

from hedonic.served_settings import LogSettings, SourceSettings, read_log_settings, read_source_settings
from hedonic.serving.answer_record import AsideLog
from hedonic.serving.answering import Answering
from hedonic.serving.coronation import require_crowned
from hedonic.serving.fast_path import PREDICT_PATHS
from hedonic.serving.feedback import Feedback
from hedonic.serving.following import Follower
from hedonic.serving.guard import INVOCATIONS
from hedonic.serving.guard_settings import GuardSettings, read_guard_settings
from hedonic.serving.job_store import RESULT_STORE, fail_orphans, place_job_store
from hedonic.serving.loading import load_source
from hedonic.serving.long_jobs import SCORE, TASK_ROUTES
from hedonic.serving.observed_predictor import observed
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_figures import log_figures
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import Release
from hedonic.serving.retention import Retention
from hedonic.serving.rollout import Rollout, Served
from hedonic.serving.source import Source, baked_source, resolve
from hedonic.serving.source import find_source as find_source_of
from hedonic.serving.table_answering import TableAnswering
from hedonic.serving.traffic import Traffic
from hedonic.serving.traffic_metrics import TrafficMetrics
from hedonic.serving.traffic_plan import TrafficPlan, plan_in
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import load_settings

ROUTES = (
    *sorted(PREDICT_PATHS), INVOCATIONS, "/explain", "/feedback", "/model/info", "/schema", "/health",
    "/healthz", "/livez", "/readyz", "/ping", "/metrics", "/docs.json", SCORE, *TASK_ROUTES,
)  # fmt: skip
"""Paths that the metrics name; all others are counted together."""

PLAN_S = 1.0
"""Seconds between two looks at the traffic plan's file where HEDONIC_FOLLOW_S does not say."""

CODE = Path(__file__).resolve().parents[1]
"""The folder of the served sources: a bento's, or the project's."""


class Worker:
    """The parts of a worker, each made when it is first asked for."""

    def __init__(self) -> None:
        """Hold nothing yet: the service loads its release when it starts."""
        self.rollout: Rollout | None = None
        self.answering: Answering | None = None
        self.retention: Retention | None = None
        self.traffic: Traffic | None = None
        self.followers: list[Follower] = []

    @cached_property
    def guard_settings(self) -> GuardSettings:
        """Return the guard's settings."""
        return read_guard_settings(os.environ)

    @cached_property
    def metrics(self) -> TrafficMetrics:
        """Return the counters of this process."""
        return TrafficMetrics(ROUTES, log_figures=lambda: log_figures(self.log, self.retention))

    @cached_property
    def log_settings(self) -> LogSettings:
        """Return where answers are logged and for how long."""
        return read_log_settings()

    @cached_property
    def log(self) -> PredictionLog | None:
        """Return the log of answers; None where none is to be kept, or there is nowhere to keep it."""
        settings = self.log_settings
        if settings.url is None or settings.prediction_log_mode == "off":
            logging.getLogger("hedonic.serving").warning(
                "answers are not logged: set HEDONIC_PREDICTION_LOG_URL"
            )
            return None
        return PredictionLog.open(settings.url, mode=settings.prediction_log_mode)

    @cached_property
    def one_job(self) -> asyncio.Semaphore:
        """Return what lets long jobs run one after the other."""
        return asyncio.Semaphore()

    @cached_property
    def tables(self) -> TableAnswering:
        """Return what answers tables."""
        return TableAnswering(self.log)

    @cached_property
    def feedback(self) -> Feedback | None:
        """Return the reported sale prices, kept beside the log of answers."""
        url = self.log_settings.url
        return Feedback(PredictionLogStore(url, at_once=False)) if url else None

    @property
    def served(self) -> Served | None:
        """Return what is served now; None before a release is loaded and after the service is shut down."""
        return self.rollout.served if self.rollout else None

    def open(self) -> None:
        """Load and verify the release, and answer by it from now on.

        Raises:
            HedonicError: there is none, or it is not what it should be.
        """
        rollout = self.rollout = Rollout(self._load, find_source, self.metrics.rolled_out)
        traffic = self.traffic = self._traffic(rollout)
        self.answering = Answering(lambda: rollout.served.release, self.log, traffic.challenge)
        url, days = self.log_settings.url, self.log_settings.log_retention_days
        if url and days:
            self.retention = Retention(url, days)
        every_s = source_settings().follow_s
        if every_s and rollout.served.source.moves:
            self.followers.append(Follower(rollout.follow, every_s))
        if source_settings().home:
            self.followers.append(Follower(traffic.follow, every_s or PLAN_S))

    def close(self) -> None:
        """Answer no more, and write down what is still in the log's buffer."""
        for follower in self.followers:
            follower.close()
        self.followers.clear()
        if self.traffic:
            self.traffic.close()
        self.rollout = self.answering = self.traffic = None
        if self.retention:
            self.retention.close()
        if self.log:
            self.log.close()

    def _traffic(self, rollout: Rollout) -> Traffic:
        """Return the traffic, by the plan that is in force now."""

        def load(plan: TrafficPlan) -> Release:
            settings = source_settings().model_copy(update={"release": plan.release})
            source = resolve(plan.challenger, settings)
            require_crowned(source, settings)
            return rollout.load(source)

        home, dataset = source_settings().home, rollout.served.release.predictor.contract.name
        traffic = Traffic(
            load,
            lambda: rollout.served.release,
            PlanFile(home, dataset) if home else None,
            plan_in(os.environ),
            AsideLog(self.log),
        )
        traffic.follow()
        return traffic

    def _load(self, source: Source) -> Release:
        return observed(load_source(source), self.metrics.answered)


WORKER = Worker()


def find_source() -> Source:
    """Return where the release to be served is now; what is served already is not asked about again.

    Raises:
        HedonicError: the settings name none, or the history says that it is not the one to be served.
    """
    source, served = find_source_of(source_settings(), CODE), WORKER.served
    if served is None or served.release.model.release != source.release:
        require_crowned(source, source_settings(), starts=served is None)
    return source


def place_jobs() -> None:
    """Give the long jobs of this service a file of its own; before BentoML makes it."""
    from _bentoml_impl.tasks import Sqlite3Store

    Sqlite3Store.init_db(str(place_job_store(os.environ, source_settings().home)))


def forget_lost_jobs() -> None:
    """Let those long jobs fail that a worker before this one had begun."""
    if path := os.environ.get(RESULT_STORE):
        fail_orphans(Path(path))


def baked_release() -> str | None:
    """Return the digest of the release that is baked into the bento; None outside one."""
    baked = baked_source(CODE)
    return baked.release if baked else None


@cache
def source_settings() -> SourceSettings:
    """Return where to look for the release; in the project's folder HEDONIC_HOME need not be set."""
    settings = read_source_settings()
    if settings.home is None and baked_source(CODE) is None:
        return settings.model_copy(update={"home": load_settings(CODE).home})
    return settings

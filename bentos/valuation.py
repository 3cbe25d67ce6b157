"""The valuation service: a release behind HTTP.

Inside a bento it serves the release that is baked into it. In the project root it serves the champion
of the data set named by HEDONIC_DATASET (default king_county), or says to run the flow first.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.responses import Response

from bentos.guarded_service import Answered, GuardedService
from bentos.messages import (
    ExplainResponse,
    FeedbackRequest,
    FeedbackResponse,
    PredictRequest,
    PredictResponse,
    RawRequest,
)
from bentos.pages import PAGES, not_ready, report_price
from bentos.preflight import preflight
from bentos.tables import TABLE_LIMIT_S, TableRequest, answer_job, answer_table
from bentos.worker import WORKER, forget_lost_jobs
from hedonic.errors import HedonicError
from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.serving.answer_headers import Cors
from hedonic.serving.asgi import App
from hedonic.serving.envelope import Envelope, Exchange
from hedonic.serving.fast_path import FastPath
from hedonic.serving.guard import Guard
from hedonic.serving.guard_settings import refuse_open_door
from hedonic.serving.listening import listening_hosts
from hedonic.serving.long_jobs import LongJobs
from hedonic.serving.request_log import log_access, log_as_json
from hedonic.serving.responses import JSON_TYPE


class ValuationService(GuardedService):
    """The service, behind the envelope, the guard and the short-cut."""

    def gateway(self, app: App, answered: Answered) -> App:
        """Return ``app`` behind ours."""
        settings = WORKER.guard_settings

        def finished(exchange: Exchange, duration_s: float) -> None:
            WORKER.metrics.finished(exchange, duration_s)
            if settings.access_log:
                log_access(exchange, duration_s)

        short_cut = FastPath(LongJobs(app), lambda: WORKER.answering, answered)
        return Envelope(Guard(short_cut, settings), Cors(settings.cors_origins), finished)


@bentoml.service(
    name="Valuation",
    service_class=ValuationService,
    workers=1,
    http={"host": "127.0.0.1"},
    # Tracing is off (OTEL_SDK_DISABLED) and yet costs as much as a prediction unless it is told to pass by.
    tracing={"excluded_urls": ".*"},
    # Longer than a table may take (TABLE_LIMIT_S). BentoML never cancels the timer of a request, 1 kB each
    # for this long; predictions do not come by it.
    traffic={"timeout": 90},
    logging={"access": {"enabled": False}},
    envs=[
        {"name": name, "value": value}
        for name, value in {**NUMERIC_ENVIRONMENT, **QUIET_ENVIRONMENT}.items()
        if not name.startswith(("PREFECT", "MLFLOW", "GX", "GRADIO"))
    ],
)
@bentoml.asgi_app(Starlette(routes=PAGES), path="/")
class Valuation:
    """Estimates of prices with 80 and 90 % intervals, from one verified release."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def refuse_without_release() -> None:
        """End `bentoml serve` before its port opens when there is no release that may be served."""
        _silence_telemetry()
        try:
            preflight(_asked_host())
        except HedonicError as err:
            sys.stderr.write(f"{err}\n")
            raise SystemExit(err.exit_code) from None

    def __init__(self) -> None:
        """Load and verify the release; the service is not ready before."""
        log_as_json()
        refuse_open_door(WORKER.guard_settings, listening_hosts())
        _allow_open_files()
        gc.set_threshold(20_000, 20, 20)  # what a request makes goes with it: seldom look for cycles
        gc.freeze()  # what is imported stays: no collection needs to look at it again; a release may go
        WORKER.open()
        forget_lost_jobs()

    def __metrics__(self, content: str) -> str:
        """Return BentoML's metrics, which hold our counters too, and what is read at the time of a scrape."""
        served = WORKER.served
        traffic = WORKER.traffic.standing.figures() if WORKER.traffic else ()
        return content + WORKER.metrics.at_scrape(served.release if served else None, traffic)

    @bentoml.api(route="/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict(self, instances: Any) -> Any:
        """Return estimates with intervals for 1 to max_rows rows."""
        return await self._answer(instances)

    @bentoml.api(route="/api/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict_api(self, instances: Any) -> Any:
        """Return the same as /predict."""
        return await self._answer(instances)

    @bentoml.api(route="/api/v1/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict_v1(self, instances: Any) -> Any:
        """Return the same as /predict, in the shape that version 1 keeps."""
        return await self._answer(instances)

    @bentoml.api(route="/explain", input_spec=PredictRequest, output_spec=ExplainResponse)  # type: ignore[untyped-decorator]
    async def explain(self, instances: Any) -> Any:
        """Return contributions in money that add up to each estimate, and comparable sales."""
        raw: RawRequest = instances
        if WORKER.answering is None:
            return not_ready()
        status, body = await WORKER.answering.explain(raw.exchange, raw.media_type, raw.body)
        return Response(body, status, media_type=JSON_TYPE)

    @bentoml.api(route="/invocations", input_spec=TableRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def invocations(self, instances: Any) -> Any:
        """Return the same as /predict for a table of any length, as JSON or CSV (Amazon SageMaker)."""
        return await answer_table(instances, TABLE_LIMIT_S)

    @bentoml.task(route="/score", input_spec=TableRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def score(self, instances: Any) -> Any:
        """Return the same as /invocations; submitted as a task, however long it takes."""
        return await answer_job(instances)

    @bentoml.api(route="/feedback", input_spec=FeedbackRequest, output_spec=FeedbackResponse)  # type: ignore[untyped-decorator]
    async def feedback(self, report: Any) -> Any:
        """Return what became of the price that was really paid for a row of an answered request."""
        return await report_price(report)

    async def _answer(self, raw: RawRequest) -> Response:
        if WORKER.answering is None:
            return not_ready()
        status, body = await WORKER.answering.answer(raw.exchange, raw.media_type, raw.body)
        return Response(body, status, media_type=JSON_TYPE)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Answer no more, and write down what is still in the log's buffer."""
        WORKER.close()


def _silence_telemetry() -> None:
    """Keep BentoML from reporting usage unless the user says otherwise: nothing leaves the machine."""
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    os.environ.setdefault("BENTOML_DO_NOT_TRACK", QUIET_ENVIRONMENT["BENTOML_DO_NOT_TRACK"])
    do_not_track.cache_clear()  # the command line asked before this module was imported


def _asked_host() -> str:
    """Return the address on which `bentoml serve` is asked to listen."""
    import click
    from bentoml._internal.configuration.containers import BentoMLContainer

    context = click.get_current_context(silent=True)
    asked = context.params.get("host") if context is not None else None
    return str(asked or BentoMLContainer.http.host.get())


def _allow_open_files() -> None:
    """Allow as many open connections as the system does: the usual 1024 are few under many slow callers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

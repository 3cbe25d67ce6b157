"""The valuation service: a release behind HTTP.

Inside a bento it serves the release that is baked into it. In the project root it serves the champion
of the data set named by HEDONIC_DATASET (default king_county), or says to run the flow first.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import logging
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import IODescriptor  # type: ignore[import-untyped]
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hedonic.data.contract import parse_contract
from hedonic.errors import HedonicError
from hedonic.model.manifest import CONTRACT
from hedonic.serving.answer_headers import Cors
from hedonic.serving.answering import Answering
from hedonic.serving.asgi import App
from hedonic.serving.envelope import SCOPE_KEY, Envelope, Exchange
from hedonic.serving.fast_path import PREDICT_PATHS, FastPath
from hedonic.serving.feedback import Feedback, Report
from hedonic.serving.guard import INVOCATIONS, Guard
from hedonic.serving.guard_settings import GuardSettings, read_guard_settings, refuse_open_door
from hedonic.serving.listening import listening_hosts
from hedonic.serving.observed_predictor import observed
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.problems import RequestRefused
from hedonic.serving.request_log import log_access, log_as_json
from hedonic.serving.responses import JSON_TYPE, error_body, explain_response, info_body
from hedonic.serving.schema import RequestSchema
from hedonic.serving.source import Source, baked_source, champion_source
from hedonic.serving.traffic_metrics import TrafficMetrics
from hedonic.settings import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT, LogSettings, load_settings

ROUTES = (
    *sorted(PREDICT_PATHS), INVOCATIONS, "/explain", "/feedback", "/model/info", "/schema", "/health",
    "/healthz", "/livez", "/readyz", "/ping", "/metrics", "/docs.json",
)  # fmt: skip
"""Paths that the metrics name; all others are counted together."""


def find_source() -> Source:
    """Return where the release to be served is."""
    code = Path(__file__).resolve().parents[1]
    if baked := baked_source(code):
        return baked
    settings = load_settings(code)
    return champion_source(settings.home, settings.dataset)


@functools.cache
def request_schema() -> dict[str, Any]:
    """Return the JSON schema of a request to the release to be served, for the documentation."""
    contract = parse_contract((find_source().folder / CONTRACT).read_text(encoding="utf-8"))
    return RequestSchema(contract).json_schema()


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came: our schema reads it, so that the framework coerces nothing."""

    exchange: Exchange
    media_type: str
    body: bytes


class PredictRequest(IODescriptor):  # type: ignore[misc]
    """The rows to be valued."""

    instances: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> PredictRequest:
        """Return the raw request."""
        raw = RawRequest(
            exchange=request.scope[SCOPE_KEY],
            media_type=request.headers.get("content-type", ""),
            body=await request.body(),
        )
        parsed: PredictRequest = cls.model_construct(instances=raw)
        return parsed

    @classmethod
    def model_json_schema(cls, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return the contract's schema."""
        return _copy(request_schema())


class Confidence(BaseModel):
    """How far an estimate can be relied on."""

    grade: str = Field(description="A, B, C or D by the relative width of the 90 % interval")
    reason: str


class Prediction(BaseModel):
    """An estimate of the price."""

    estimate: float
    unit: str
    interval_80: list[float] = Field(min_length=2, max_length=2)
    interval_90: list[float] = Field(min_length=2, max_length=2)
    confidence: Confidence
    warnings: list[str] = Field(description="What makes this row unlike what training saw")


class Model(BaseModel):
    """What answered."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    release: str = Field(description="sha256 of the release's manifest")


class PredictResponse(IODescriptor):  # type: ignore[misc]
    """A prediction for each instance, in their order."""

    predictions: list[Prediction]
    model: Model
    request_id: str


class ExplainResponse(IODescriptor):  # type: ignore[misc]
    """An explanation for each instance, in their order."""

    explanations: list[dict[str, Any]]
    model: Model
    request_id: str


def _copy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy: BentoML edits schemas in place."""
    import copy

    return copy.deepcopy(dict(schema))


async def model_info(_request: Request) -> Response:
    """Return what is served, what it was made from and where it came from."""
    service = bentoml.get_current_service()
    bento = service.bento_service.bento
    body = info_body(service.release, service.source.origin, str(bento.tag) if bento else None)
    return Response(body, media_type=JSON_TYPE)


async def health(_request: Request) -> Response:
    """Return 200 once the release is loaded, verified and its golden rows are answered."""
    return Response(b'{"status":"ready"}', media_type=JSON_TYPE)


async def schema(_request: Request) -> Response:
    """Return the JSON schema of a request: the contract's."""
    return Response(json.dumps(request_schema()), media_type=JSON_TYPE)


async def report_price(request: Request) -> Response:
    """Take the price that was really paid for an answered request: late, out of order, or again."""
    exchange: Exchange = request.scope[SCOPE_KEY]
    kept = feedback()
    exchange.answered = True
    if kept is None:
        told = "this endpoint keeps no log of its answers, so there is nothing to report on"
        return Response(error_body("no_log", told, exchange.request_id), 404, media_type=JSON_TYPE)
    try:
        report = Report.parse(await request.body())
        receipt = await asyncio.to_thread(kept.record, report)
    except RequestRefused as err:
        body = error_body(err.code, str(err), exchange.request_id, err.problems)
        return Response(body, 400, media_type=JSON_TYPE)
    except StoreUnavailable:
        told = "the price could not be written down; report it again in a moment"
        body = error_body("log_unavailable", told, exchange.request_id)
        return Response(body, 503, {"Retry-After": "1"}, media_type=JSON_TYPE)
    content = {**asdict(receipt), "request_id": report.request_id, "row": report.row}
    return Response(json.dumps(content), 200 if receipt.known else 202, media_type=JSON_TYPE)


@functools.cache
def guard_settings() -> GuardSettings:
    """Return the guard's settings."""
    return read_guard_settings(os.environ)


@functools.cache
def traffic() -> TrafficMetrics:
    """Return the counters of this process."""
    return TrafficMetrics(ROUTES, log_drops=lambda: log.dropped if (log := prediction_log()) else 0)


@functools.cache
def prediction_log() -> PredictionLog | None:
    """Return the log of answers; None where none is to be kept, or there is nowhere to keep it."""
    settings = LogSettings()
    if settings.url is None or settings.prediction_log_mode == "off":
        logging.getLogger("hedonic.serving").warning("answers are not logged: set HEDONIC_PREDICTION_LOG_URL")
        return None
    return PredictionLog.open(settings.url, mode=settings.prediction_log_mode)


@functools.cache
def feedback() -> Feedback | None:
    """Return the reported sale prices, kept beside the log of answers."""
    url = LogSettings().url
    return Feedback(PredictionLogStore(url)) if url else None


def served_release() -> Release | None:
    """Return the release that is served now; None before it is loaded and after the service is shut down."""
    try:
        release: Release = bentoml.get_current_service().release
    except BentoMLException:
        return None
    return release


def gateway(app: App) -> App:
    """Return ``app`` behind the envelope, the guard and the short-cut."""
    settings = guard_settings()

    def finished(exchange: Exchange, duration_s: float) -> None:
        traffic().finished(exchange, duration_s)
        if settings.access_log:
            log_access(exchange, duration_s)

    guarded = Guard(FastPath(app, served_release, Answering(prediction_log)), settings)
    return Envelope(guarded, Cors(settings.cors_origins), finished)


PAGES = [
    Route("/model/info", model_info),
    Route("/health", health),
    Route("/ping", health),
    Route("/schema", schema),
    Route("/feedback", report_price, methods=["POST"]),
]


@bentoml.service(
    name="Valuation",
    workers=1,
    http={"host": "127.0.0.1"},
    # Tracing is off (OTEL_SDK_DISABLED) and yet costs as much as a prediction unless it is told to pass by.
    tracing={"excluded_urls": ".*"},
    # BentoML sets a timer a request and never cancels it: 1 kB each for this long.
    traffic={"timeout": 30},
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
            refuse_open_door(guard_settings(), [_asked_host()])
            load_release(*_located(find_source()))
        except HedonicError as err:
            sys.stderr.write(f"{err}\n")
            raise SystemExit(err.exit_code) from None

    def __init__(self) -> None:
        """Load and verify the release; the service is not ready before."""
        log_as_json()
        refuse_open_door(guard_settings(), listening_hosts())
        _allow_open_files()
        self.source: Source = find_source()
        self.release: Release = observed(load_release(*_located(self.source)), traffic().answered)
        gc.freeze()  # what is loaded stays: no collection needs to look at it again

    def __metrics__(self, content: str) -> str:
        """Return BentoML's metrics, which hold our counters too, and what is read at the time of a scrape."""
        return content + traffic().at_scrape(self.release)

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
        raw, release = instances, self.release
        raw.exchange.answered, raw.exchange.release = True, release.model.release
        status, body = await asyncio.to_thread(
            explain_response, release, raw.media_type, raw.body, raw.exchange.request_id
        )
        return Response(body, status, media_type=JSON_TYPE)

    async def _answer(self, raw: RawRequest) -> Response:
        answering = Answering(prediction_log)
        status, body = await answering.answer(self.release, raw.exchange, raw.media_type, raw.body)
        return Response(body, status, media_type=JSON_TYPE)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close_log(self) -> None:
        """Write down what is still in the buffer."""
        if log := prediction_log():
            log.close()


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


def _located(source: Source) -> tuple[Path, str]:
    return source.folder, source.release


Valuation.add_asgi_middleware(gateway)  # type: ignore[attr-defined]

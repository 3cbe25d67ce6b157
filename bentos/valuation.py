"""The valuation service: a release behind HTTP.

Inside a bento it serves the release that is baked into it. In the project root it serves the champion
of the data set named by HEDONIC_DATASET (default king_county), or says to run the flow first.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import IODescriptor  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hedonic.data.contract import parse_contract
from hedonic.errors import HedonicError
from hedonic.model.manifest import CONTRACT
from hedonic.serving.envelope import SCOPE_KEY, Envelope, Exchange
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.responses import JSON_TYPE, info_body, predict_response
from hedonic.serving.schema import RequestSchema
from hedonic.serving.source import Source, baked_source, champion_source
from hedonic.settings import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT, load_settings


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


@bentoml.service(
    name="Valuation",
    workers=1,
    logging={"access": {"enabled": False}},
    envs=[
        {"name": name, "value": value}
        for name, value in {**NUMERIC_ENVIRONMENT, **QUIET_ENVIRONMENT}.items()
        if not name.startswith(("PREFECT", "MLFLOW", "GX", "GRADIO"))
    ],
)
@bentoml.asgi_app(Starlette(routes=[Route("/model/info", model_info), Route("/health", health)]), path="/")
class Valuation:
    """Estimates of prices with 80 and 90 % intervals, from one verified release."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def refuse_without_release() -> None:
        """End `bentoml serve` before its port opens when there is no release that may be served."""
        _silence_telemetry()
        try:
            load_release(*_located(find_source()))
        except HedonicError as err:
            sys.stderr.write(f"{err}\n")
            raise SystemExit(err.exit_code) from None

    def __init__(self) -> None:
        """Load and verify the release; the service is not ready before."""
        self.source: Source = find_source()
        self.release: Release = load_release(*_located(self.source))

    @bentoml.api(route="/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict(self, instances: Any) -> Any:
        """Return estimates with intervals for 1 to max_rows rows."""
        return self._answer(instances)

    @bentoml.api(route="/api/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict_api(self, instances: Any) -> Any:
        """Return the same as /predict."""
        return self._answer(instances)

    @bentoml.api(route="/api/v1/predict", input_spec=PredictRequest, output_spec=PredictResponse)  # type: ignore[untyped-decorator]
    async def predict_v1(self, instances: Any) -> Any:
        """Return the same as /predict, in the shape that version 1 keeps."""
        return self._answer(instances)

    def _answer(self, raw: RawRequest) -> Response:
        status, body = predict_response(self.release, raw.media_type, raw.body, raw.exchange.request_id)
        raw.exchange.answered = True
        return Response(body, status, media_type=JSON_TYPE)


def _silence_telemetry() -> None:
    """Keep BentoML from reporting usage unless the user says otherwise: nothing leaves the machine."""
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    os.environ.setdefault("BENTOML_DO_NOT_TRACK", QUIET_ENVIRONMENT["BENTOML_DO_NOT_TRACK"])
    do_not_track.cache_clear()  # the command line asked before this module was imported


def _located(source: Source) -> tuple[Path, str]:
    return source.folder, source.release


Valuation.add_asgi_middleware(Envelope)  # type: ignore[attr-defined]

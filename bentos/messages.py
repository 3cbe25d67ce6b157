"""The messages of the valuation service, as its OpenAPI document and BentoML's client know them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from _bentoml_sdk import IODescriptor  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from bentos.worker import request_schema
from hedonic.serving.asgi import SCOPE_KEY, Exchange


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
        return copy.deepcopy(request_schema())  # BentoML edits schemas in place


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

"""The messages of the valuation service, as its OpenAPI document and BentoML's client know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from _bentoml_sdk import IODescriptor  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from hedonic.serving.asgi import SCOPE_KEY, Exchange

RequestId = Annotated[
    str, Field(description="Of this exchange; also in the header X-Request-Id and in every line of the log")
]
Interval = Annotated[list[float], Field(min_length=2, max_length=2, description="Low and high")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came: our schema reads it, so that the framework coerces nothing."""

    exchange: Exchange
    media_type: str
    body: bytes

    @classmethod
    async def of(cls, request: Request) -> RawRequest:
        """Return what a request holds."""
        kind = request.headers.get("content-type", "")
        return cls(exchange=request.scope[SCOPE_KEY], media_type=kind, body=await request.body())


def rows_schema(title: str) -> dict[str, Any]:
    """Return the schema of a request with rows, for BentoML alone; the contract's is at /schema.

    BentoML's client leaves out what a schema does not name before it asks. So this one names no field of
    a row: an unknown one has to come here to be refused.
    """
    rows = {"type": "array", "items": {"type": "object", "description": "See /schema"}}
    return {"title": title, "type": "object", "required": ["instances"], "properties": {"instances": rows}}


class PredictRequest(IODescriptor):  # type: ignore[misc]
    """The rows to be valued."""

    instances: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> PredictRequest:
        """Return the raw request."""
        parsed: PredictRequest = cls.model_construct(instances=await RawRequest.of(request))
        return parsed

    @classmethod
    def model_json_schema(cls, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return what BentoML's client needs to know; see ``rows_schema``."""
        return rows_schema(cls.__name__)


class Confidence(BaseModel):
    """How far an estimate can be relied on."""

    grade: Literal["A", "B", "C", "D"] = Field(description="By the relative width of the 90 % interval")
    reason: str


class Prediction(BaseModel):
    """An estimate of the price."""

    estimate: float
    unit: str = Field(description="Of the estimate and its intervals, such as USD")
    interval_80: Interval
    interval_90: Interval
    confidence: Confidence
    warnings: list[str] = Field(description="What makes this row unlike what training saw")


class Model(BaseModel):
    """What answered."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    release: Digest = Field(description="sha256 of the release's manifest")


class PredictResponse(IODescriptor):  # type: ignore[misc]
    """A prediction for each instance, in their order."""

    predictions: list[Prediction]
    model: Model
    request_id: RequestId


class Contribution(BaseModel):
    """What a group of attributes adds to the base, or takes from it."""

    group: str
    amount: float = Field(description="In the estimate's unit; base and amounts add up to the estimate")
    attributes: list[str]


class ComparableSale(BaseModel):
    """A known sale near the row."""

    distance_km: float
    sale_date: str | None = Field(description="Null in a data set without time")
    sale_price: float
    adjusted_price: float = Field(
        description="The sale's price, moved by what its attributes, place and date differ from the row's"
    )
    attributes: dict[str, float | None]


class Explanation(BaseModel):
    """Why an estimate is what it is."""

    estimate: float
    unit: str
    base: float | None = Field(description="Where the contributions start; null where there are none")
    contributions: list[Contribution] = Field(description="The largest first")
    exact: bool = Field(description="Whether this family of model has exact contributions")
    comparable_sales: list[ComparableSale] = Field(description="Up to five, the nearest first")
    notes: list[str]


class ExplainResponse(IODescriptor):  # type: ignore[misc]
    """An explanation for each instance, in their order."""

    explanations: list[Explanation]
    model: Model
    request_id: RequestId


class FeedbackContent(BaseModel):
    """The price that was really paid for a row of an answered request."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(
        pattern=r"^[0-9A-Za-z_.:-]{1,128}$", description="From the response that held the estimate"
    )
    price: float = Field(gt=0, le=1e300, description="What was paid, in the estimate's unit")
    row: int = Field(0, ge=0, lt=2**31, description="Of the request, from 0")
    observed_at: str | None = Field(
        None,
        description="The day (2015-05-27), or the time with its zone (2015-05-27T10:00:00Z), that the price "
        "is from, not in the future; default: now. Of several prices of a row the latest counts",
    )


class FeedbackRequest(IODescriptor):  # type: ignore[misc]
    """The report of a price."""

    report: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> FeedbackRequest:
        """Return the raw request."""
        parsed: FeedbackRequest = cls.model_construct(report=await RawRequest.of(request))
        return parsed

    @classmethod
    def model_json_schema(cls, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return the schema of a report."""
        return FeedbackContent.model_json_schema()


class FeedbackResponse(IODescriptor):  # type: ignore[misc]
    """What became of a report."""

    outcome: Literal["recorded", "repeated"] = Field(description="repeated: it says nothing new")
    known: bool = Field(description="Whether the log holds the request; if not, the price waits for it")
    price: float = Field(description="The price of this row that counts now")
    request_id: str = Field(description="That of the report")
    row: int

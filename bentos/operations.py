"""The operations of the valuation service, as an integrator reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hedonic.serving.responses import JSON_TYPE

CSV_TYPE = "text/csv"
TEXT_TYPE = "text/plain"
_TAKEN = (400, 408, 413, 415, 500, 503)
"""Refusals of whatever has a body: what is wrong with it, and that there may be too many."""

Content = Mapping[str, str]
"""Media types, each with the name of its message; of a text, with what is in it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one path does.

    Attributes:
        name: of the operation, for generated clients.
        answers: by status, in what case and with what.
        takes: what its body may be.
        refuses: statuses of the refusals that can occur, but for those by token and by rate.
        asks: parameters of its query, each with what it is; all are required.
    """

    path: str
    method: Literal["get", "post", "put"]
    name: str
    tag: Literal["Prices", "Release", "Operations"]
    summary: str
    description: str
    answers: Mapping[int, tuple[str, Content]]
    takes: Content = field(default_factory=dict)
    refuses: tuple[int, ...] = ()
    asks: Mapping[str, str] = field(default_factory=dict)


_ROWS: Content = {JSON_TYPE: "PredictRequest"}
_PREDICTIONS = {200: ("A prediction for each row, in their order", {JSON_TYPE: "PredictResponse"})}
_ESTIMATES = (
    "Takes 1 to as many rows as the schema says, with raw attributes as people know them. Each estimate "
    "comes with an 80 and a 90 % interval, a confidence grade with its reason, and warnings where the row is "
    "unlike what training saw. A batch equals its single rows bit for bit. "
)
_TABLE: Content = {JSON_TYPE: "TableRequest", CSV_TYPE: "TableRequest"}
_RESULTS: Content = {JSON_TYPE: "PredictResponse", CSV_TYPE: "PredictResponse"}
_TASK = {200: ("The job", {JSON_TYPE: "TaskResponse"})}
_TASK_ID = {"task_id": "From the answer of /score/submit"}
_READY = {200: ("Ready", {JSON_TYPE: "HealthResponse"})}


def _probe(path: str, name: str, description: str) -> Operation:
    return Operation(
        path, "get", name, "Operations", description.partition(".")[0], description,
        {200: ("It is so", {TEXT_TYPE: "An empty line"})},
    )  # fmt: skip


OPERATIONS = (
    Operation(
        "/api/v1/predict", "post", "predict_v1", "Prices", "Estimate prices (version 1)",
        _ESTIMATES + "This path keeps its shape; /predict is the newest version.",
        _PREDICTIONS, _ROWS, _TAKEN,
    ),
    Operation(
        "/api/predict", "post", "predict_api", "Prices", "Estimate prices",
        _ESTIMATES + "The same as /predict.",
        _PREDICTIONS, _ROWS, _TAKEN,
    ),
    Operation(
        "/predict", "post", "predict", "Prices", "Estimate prices",
        _ESTIMATES + "The newest version; /api/v1/predict is the one that does not change.",
        _PREDICTIONS, _ROWS, _TAKEN,
    ),
    Operation(
        "/explain", "post", "explain", "Prices", "Explain estimates",
        "Takes what /predict takes, and answers with contributions in money that add up to each estimate, "
        "and up to five comparable sales. Takes milliseconds a row.",
        {200: ("An explanation for each row, in their order", {JSON_TYPE: "ExplainResponse"})},
        _ROWS, (*_TAKEN, 504),
    ),
    Operation(
        "/invocations", "post", "invocations", "Prices", "Estimate the prices of a table (Amazon SageMaker)",
        "Answers a table of any length as /predict answers its rows. CSV has a header row, or says "
        "header=absent and has the columns in the order of the schema. Asked for CSV (Accept: text/csv) it "
        "answers with estimate, low_80, high_80, low_90, high_90, grade and warnings.",
        {200: ("A prediction for each row, in their order", _RESULTS)}, _TABLE, _TAKEN,
    ),
    Operation(
        "/score", "post", "score", "Prices", "Estimate the prices of a table",
        "The same as /invocations. For a table that takes longer than half a minute submit a job instead.",
        {200: ("A prediction for each row, in their order", _RESULTS)}, _TABLE, _TAKEN,
    ),
    Operation(
        "/score/submit", "post", "score_submit", "Prices", "Submit a long job",
        "Takes what /invocations takes, and answers at once with the id of a job. A restart forgets jobs.",
        _TASK, _TABLE, _TAKEN,
    ),
    Operation(
        "/score/status", "get", "score_status", "Prices", "Ask how a long job stands", "By its id.",
        _TASK, refuses=(400, 404, 500), asks=_TASK_ID,
    ),
    Operation(
        "/score/get", "get", "score_result", "Prices", "Take the result of a long job",
        "What /invocations would have answered, its refusals included; 409 while the job is not finished.",
        {200: ("A prediction for each row, in their order", _RESULTS)},
        refuses=(400, 404, 409, 415, 500, 503), asks=_TASK_ID,
    ),
    Operation(
        "/score/retry", "post", "score_retry", "Prices", "Submit a long job again", "Answers with a new id.",
        _TASK, refuses=(400, 404, 408, 413, 415, 500, 503), asks=_TASK_ID,
    ),
    Operation(
        "/score/cancel", "put", "score_cancel", "Prices", "Cancel a long job", "One that runs or waits.",
        _TASK, refuses=(408, 409, 413, 415, 500, 503), asks=_TASK_ID,
    ),
    Operation(
        "/feedback", "post", "feedback", "Prices", "Report the price that was paid",
        "Late, out of order and repeated reports are welcome: of several prices of a row the one with the "
        "latest observed_at counts.",
        {
            200: ("Taken; the log holds the request", {JSON_TYPE: "FeedbackResponse"}),
            202: ("Taken; the log does not hold the request yet", {JSON_TYPE: "FeedbackResponse"}),
        },
        {JSON_TYPE: "FeedbackContent"}, (*_TAKEN, 404, 504),
    ),
    Operation(
        "/model/info", "get", "model_info", "Release", "What is served, and what it was made from",
        "Name, version and digest of the release, where it came from, digests of what it was made from, and "
        "its record: MLflow run, study, commit, time and figures.",
        {200: ("The release", {JSON_TYPE: "InfoResponse"})}, refuses=(500, 503),
    ),
    Operation(
        "/schema", "get", "schema", "Release", "The JSON schema of a request",
        "That of the data set's contract, with an example. Row rules are told in its description.",
        {200: ("A JSON schema (2020-12)", {JSON_TYPE: "object"})}, refuses=(500, 503),
    ),
    Operation(
        "/docs.json", "get", "openapi", "Release", "This document",
        "OpenAPI 3.1, as this service stands now.",
        {200: ("OpenAPI 3.1", {JSON_TYPE: "object"})}, refuses=(500, 503),
    ),
    Operation(
        "/schema.json", "get", "bentoml_schema", "Release", "The routes, for BentoML's client",
        "What bentoml.SyncHTTPClient reads to know the service.",
        {200: ("BentoML's description of the service", {JSON_TYPE: "object"})}, refuses=(500,),
    ),
    Operation(
        "/", "get", "page", "Release", "This document as a page", "Swagger UI, served from here.",
        {200: ("A page", {"text/html": "Swagger UI"})},
    ),
    Operation(
        "/health", "get", "health", "Operations", "Whether it is ready",
        "200 once the release is loaded and verified and its golden rows are answered.",
        _READY, refuses=(503,),
    ),
    Operation(
        "/ping", "get", "ping", "Operations", "Whether it is ready, as Amazon SageMaker asks",
        "The same as /health.", _READY, refuses=(503,),
    ),
    _probe("/livez", "livez", "The process lives. For Kubernetes' liveness probe."),
    _probe("/healthz", "healthz", "The process lives. The same as /livez, by its older name."),
    _probe("/readyz", "readyz", "The process takes requests. For Kubernetes' readiness probe."),
    Operation(
        "/metrics", "get", "metrics", "Operations", "Figures for Prometheus",
        "Requests by route, version and outcome, their durations, estimates, inputs out of range, log drops, "
        "and the process.",
        {200: ("Figures", {TEXT_TYPE: "Prometheus' text format"})}, refuses=(500,),
    ),
)  # fmt: skip

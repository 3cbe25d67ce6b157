"""The OpenAPI document of the valuation service: every route, what it takes and all that it answers."""

from __future__ import annotations

import copy
import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bentos.facts import ErrorResponse, HealthResponse, InfoResponse, TaskResponse
from bentos.messages import (
    ExplainResponse,
    FeedbackContent,
    FeedbackResponse,
    PredictResponse,
)
from bentos.operations import CSV_TYPE, OPERATIONS, Operation
from hedonic.serving.guard_settings import GuardSettings
from hedonic.serving.responses import JSON_TYPE

MODELS: tuple[type[BaseModel], ...] = (
    PredictResponse, ExplainResponse, FeedbackContent, FeedbackResponse, InfoResponse, HealthResponse,
    TaskResponse, ErrorResponse,
)  # fmt: skip
_ABOUT = """\
Estimates of prices with 80 and 90 % intervals, from one verified release.

A request is held against the contract of the data set, strictly: no text for a number, no unknown field,
and every problem is told at once with the path of its field. Every error, from here or from the
framework, has the one shape of `ErrorResponse`; its `request_id` is also in the header `X-Request-Id` of
every answer, and in the log. A path that does not exist is 404, a method that it does not take 405.

`/api/v1/predict` keeps its shape. What would break a caller gets a new path (`/api/v2/...`). New
optional fields of a request and new fields of a response break none, so let callers ignore what they do
not know."""
_REFUSALS = {
    400: ("The request is not what the contract says; every problem is listed.", "invalid_request",
          "the request has 1 problem"),
    401: ("No bearer token, or not a good one.", "unauthorized", "send a bearer token"),
    408: ("The body did not arrive in time.", "request_timeout", "the body did not arrive within 5 s"),
    413: ("The body is too large.", "payload_too_large",
          "the body is larger than 1048576 bytes; send fewer rows at a time"),
    415: ("The body is of another media type, or compressed.", "unsupported_media_type",
          "send the body as application/json, not compressed (-H 'Content-Type: application/json')"),
    404: ("What was asked for is not here.", "not_found", "there is no such path; /docs.json lists them"),
    409: ("The job is not finished, or does not run any more.", "task_not_finished",
          "the task has no result: it runs, waits, or was canceled; see /score/status"),
    429: ("More requests than this client may send.", "rate_limited",
          "more than 5 requests a second; try again later"),
    500: ("An error of the service. It says no more; the log has it under the request id.", "internal_error",
          "an error on our side; the log has it under this request id"),
    503: ("Not ready, or too busy: ask again after as many seconds as Retry-After says.", "overloaded",
          "too many requests at once; try again in a moment"),
    504: ("Not answered within 30 s.", "internal_error",
          "an error on our side; the log has it under this request id"),
}  # fmt: skip
_REQUEST_ID = {"description": "The id of this exchange", "schema": {"type": "string"}}
_SECONDS = {"type": "integer", "minimum": 1}
_RETRY_AFTER = {"description": "Seconds until it may be asked again", "schema": _SECONDS}
_CHALLENGE = {"description": "That a bearer token is asked for", "schema": {"type": "string"}}
_ID = "6f1c0d8e2b7a4c5e9d3f8a1b2c4d6e7f"


@dataclass(frozen=True, slots=True)
class Served:
    """What the document is about.

    Attributes:
        request: the JSON schema of a request, the contract's.
        settings: which refusals there are.
        paths: that this process serves; what else could be is left out.
        answers: what is answered to the request's example, by the response's name.
    """

    request: Mapping[str, Any]
    settings: GuardSettings
    paths: Collection[str]
    answers: Mapping[str, Any]


def document(served: Served) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, JSON-ready."""
    paths: dict[str, dict[str, Any]] = {}
    schemas = {**copy.deepcopy(_schemas()), **_requests(served.request)}
    for operation in OPERATIONS:
        if operation.path in served.paths:
            paths.setdefault(operation.path, {})[operation.method] = _operation(operation, served)
    components: dict[str, Any] = {
        "schemas": schemas,
        "responses": {f"{_name(status)}": _refusal(status) for status in _REFUSALS},
    }
    content = {
        "openapi": "3.1.0",
        "info": {"title": "Valuation", "version": "1.0.0", "description": _ABOUT},
        "servers": [{"url": "."}],
        "tags": [
            {"name": "Prices", "description": "Estimates, their reasons, and what was paid after all"},
            {"name": "Release", "description": "What is served, and what it takes"},
            {"name": "Operations", "description": "Probes and figures for whoever runs it"},
        ],
        "paths": paths,
        "components": components,
    }
    if served.settings.tokens:
        told = "The token of HEDONIC_API_TOKEN"
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "description": told}}
        content["security"] = [{"bearer": []}]
    return content


@cache
def _schemas() -> dict[str, Any]:
    """Return the schemas of all messages but the request, which is a contract's."""
    _, found = models_json_schema(
        [(model, "serialization" if model is not FeedbackContent else "validation") for model in MODELS],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _requests(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of requests: of few rows, and of a table of any length."""
    few = {key: value for key, value in request.items() if key != "example"}
    rows = {key: value for key, value in few["properties"]["instances"].items() if key != "maxItems"}
    return {
        "PredictRequest": few,
        "TableRequest": {**few, "title": "TableRequest", "properties": {"instances": rows}},
    }


def _operation(operation: Operation, served: Served) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
    }
    if operation.asks:
        told["parameters"] = [
            {
                "name": name,
                "in": "query",
                "required": True,
                "description": about,
                "schema": {"type": "string"},
            }
            for name, about in operation.asks.items()
        ]
    if operation.takes:
        told["requestBody"] = {
            "required": True,
            "content": {kind: _taken(kind, name, served) for kind, name in operation.takes.items()},
        }
    answers: dict[str, Any] = {}
    for status, (summary, content) in operation.answers.items():
        shown = {kind: _shown(kind, name, served) for kind, name in content.items()}
        answers[str(status)] = {"description": summary, "headers": {"X-Request-Id": _REQUEST_ID}}
        answers[str(status)] |= {"content": shown} if shown else {}
    told["responses"] = answers | _refusals(operation.path, operation.refuses, served)
    if served.settings.tokens and operation.path in served.settings.open_paths:
        told["security"] = []
    return told


def _taken(kind: str, name: str, served: Served) -> dict[str, Any]:
    """Return what a body may be; where there is an example, it is one that is answered."""
    example = served.request.get("example")
    if name == FeedbackContent.__name__:
        example = {"request_id": _ID, "price": 465000.0, "observed_at": "2015-05-27"}
    elif kind == CSV_TYPE and example is not None:
        example = _csv(example["instances"])
    shown = {"type": "string"} if kind == CSV_TYPE else {"$ref": f"#/components/schemas/{name}"}
    return {"schema": shown} if example is None else {"schema": shown, "example": example}


def _shown(kind: str, name: str, served: Served) -> dict[str, Any]:
    """Return what an answer is: a message, an object that is no message of ours, or a text."""
    if kind == JSON_TYPE and name in _schemas():
        shown: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        example = served.answers.get(name)
        return shown if example is None else {**shown, "example": example}
    return {"schema": {"type": "object" if kind == JSON_TYPE else "string"}}


def _csv(instances: list[dict[str, Any]]) -> str:
    """Return rows as a table with a header row."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(instances[0])
    table.writerows(
        [str(value).lower() if isinstance(value, bool) else value for value in row.values()]
        for row in instances
    )
    return text.getvalue()


def _refusals(path: str, statuses: Collection[int], served: Served) -> dict[str, Any]:
    """Return the refusals of an operation: its own, and those that the guard adds."""
    guarded = path not in served.settings.open_paths
    asked = {401} if guarded and served.settings.tokens else set()
    counted = {429} if guarded and served.settings.rate_per_s is not None else set()
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        for status in sorted({*statuses} | asked | counted)
    }


def _refusal(status: int) -> dict[str, Any]:
    """Return the response with which a request is refused."""
    summary, code, message = _REFUSALS[status]
    problems = [{"path": "instances[0].bedrooms", "message": "missing"}] if status == 400 else []
    headers: dict[str, Any] = {"X-Request-Id": _REQUEST_ID}
    headers |= {"Retry-After": _RETRY_AFTER} if status in (429, 503) else {}
    headers |= {"WWW-Authenticate": _CHALLENGE} if status == 401 else {}
    example = {"error": {"code": code, "message": message, "problems": problems}, "request_id": _ID}
    shown = {"schema": {"$ref": f"#/components/schemas/{ErrorResponse.__name__}"}, "example": example}
    return {"description": summary, "headers": headers, "content": {JSON_TYPE: shown}}


def _name(status: int) -> str:
    return f"Refused{status}"

"""The OpenAPI document of the tiny town, made without a service."""

from __future__ import annotations

import json
from typing import Any

from bentos.openapi import Served, document
from bentos.operations import OPERATIONS
from hedonic.serving.guard_settings import GuardSettings
from hedonic.serving.schema import RequestSchema
from tests.tiny_release import tiny_contract

SAID = {"title", "description", "summary", "example", "examples"}
"""Keys of a schema that are said to people: wording may change in a version."""


def tiny_document(**settings: Any) -> dict[str, Any]:
    """Return the document of the tiny town's endpoint under these settings of the guard."""
    request = RequestSchema(tiny_contract()).json_schema()
    paths = tuple(operation.path for operation in OPERATIONS)
    return document(Served(request, GuardSettings(**settings), paths, {}))


def resolved(part: Any, told: dict[str, Any]) -> Any:
    """Return a part of a document, every reference replaced by what it is to."""
    if isinstance(part, list):
        return [resolved(item, told) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found: Any = told
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return resolved(found, told)
    return {key: resolved(value, told) for key, value in part.items()}


def shape(part: Any, is_name: bool = False) -> Any:
    """Return a part of a resolved document without what is said to people alone."""
    if isinstance(part, list):
        return [shape(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: shape(value, key in ("properties", "headers", "responses", "content"))
        for key, value in part.items()
        if is_name or key not in SAID
    }


def operation_shape(told: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    """Return what an operation takes and answers: media types, statuses, headers and schemas."""
    operation = told["paths"][path][method]
    kept = {key: operation[key] for key in ("requestBody", "responses")}
    found: dict[str, Any] = json.loads(json.dumps(shape(resolved(kept, told)), sort_keys=True))
    return found

"""The answer to a request as bytes: one shape for predictions, one for every error."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from hedonic.serving.explanation import Explanation
from hedonic.serving.predictor import Release
from hedonic.serving.problems import Problem, RequestRefused

JSON_TYPE = "application/json"
STATUS = {"unsupported_media_type": 415}
"""Statuses of refusals by their code; every other fault of the caller is 400."""

_ERRORS = {
    404: ("not_found", "there is no such path; /docs.json lists them"),
    405: ("method_not_allowed", "this path does not take this method; /docs.json lists them"),
    415: ("unsupported_media_type", f"send the body as {JSON_TYPE}"),
    503: ("not_ready", "the service is not ready; try again in a moment"),
}

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_logger = logging.getLogger("hedonic.serving")


def predict_response(release: Release, media_type: str, body: bytes, request_id: str) -> tuple[int, bytes]:
    """Return status and body of the answer to a prediction request; see ``_response``."""
    answer = release.predictor.answer
    return _response("predictions", answer, release, media_type, body, request_id)


def explain_response(release: Release, media_type: str, body: bytes, request_id: str) -> tuple[int, bytes]:
    """Return status and body of the answer to a request for explanations; see ``_response``.

    It takes milliseconds a row (TreeSHAP), outside of Python: call it in a thread.
    """

    def answer(body: bytes) -> list[Explanation]:
        return release.explainer.explain(release.predictor.schema.read(body).columns)

    return _response("explanations", answer, release, media_type, body, request_id)


def _response(
    part: str,
    answer: Callable[[bytes], list[dict[str, Any]]],
    release: Release,
    media_type: str,
    body: bytes,
    request_id: str,
) -> tuple[int, bytes]:
    """Return status and body.

    The caller's fault is a 4xx that lists every problem. Ours is an opaque 500: the traceback goes to
    the log, with the request id, and nowhere else.
    """
    try:
        if media_type.partition(";")[0].strip().lower() not in (JSON_TYPE, ""):
            raise RequestRefused(
                "unsupported_media_type", f"send the body as {JSON_TYPE} (-H 'Content-Type: {JSON_TYPE}')"
            )
        content = {part: answer(body), "model": release.model.facts, "request_id": request_id}
        return 200, _to_bytes(content)
    except RequestRefused as err:
        status = STATUS.get(err.code, 400)
        return status, error_body(err.code, str(err), request_id, err.problems)
    except Exception:  # the edge of the process: nothing of ours reaches a caller but the id
        _logger.exception("request %s failed", request_id)
        return 500, internal_error(request_id)


def error_body(code: str, message: str, request_id: str, problems: Iterable[Problem] = ()) -> bytes:
    """Return the body of an error."""
    error = {"code": code, "message": message, "problems": [asdict(problem) for problem in problems]}
    return _to_bytes({"error": error, "request_id": request_id})


def status_error(status: int, request_id: str) -> bytes:
    """Return the body of an error that the framework answered by its status alone."""
    if status >= 500 and status != 503:
        return internal_error(request_id)
    code, message = _ERRORS.get(status, ("bad_request", f"the request was refused with status {status}"))
    return error_body(code, message, request_id)


def internal_error(request_id: str) -> bytes:
    """Return the body of an error of ours."""
    message = "an error on our side; the log has it under this request id"
    return error_body("internal_error", message, request_id)


def info_body(release: Release, origin: str, bento: str | None) -> bytes:
    """Return the body of ``/model/info``: what answers, what it was made from, where it came from."""
    contract = release.predictor.contract
    record = None if release.record is None else release.record.model_dump(mode="json")
    return _to_bytes(
        {
            "model": release.model.facts,
            "dataset": contract.name,
            "target": {"column": contract.target.column, "unit": contract.target.unit},
            "origin": origin,
            "bento": bento,
            "made_from": release.facts,
            "record": record,
        }
    )


def _to_bytes(content: dict[str, Any]) -> bytes:
    return _ENCODER.encode(content).encode()

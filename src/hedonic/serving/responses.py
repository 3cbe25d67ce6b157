"""The answer to a request as bytes: one shape for predictions, one for every error."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import orjson

from hedonic.serving.predictor import Prediction, Release
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

    def answer() -> bytes:
        return _predictions(release, release.predictor.answer(body), request_id)

    return _response(answer, media_type, request_id)


async def joint_predict_response(
    release: Release, media_type: str, body: bytes, request_id: str
) -> tuple[int, bytes]:
    """Return the same, computed together with what else arrives; see ``JointAnswers``."""
    try:
        _refuse_type(media_type)
        return 200, _predictions(release, await release.predictor.answer_jointly(body), request_id)
    except RequestRefused as err:
        return _refusal(err, request_id)
    except Exception:  # the edge of the process
        _logger.exception("request %s failed", request_id)
        return 500, internal_error(request_id)


def explain_response(release: Release, media_type: str, body: bytes, request_id: str) -> tuple[int, bytes]:
    """Return status and body of the answer to a request for explanations; see ``_response``.

    It takes milliseconds a row (TreeSHAP), outside of Python: call it in a thread.
    """

    def answer() -> bytes:
        explanations = release.explainer.explain(release.predictor.schema.read(body).columns)
        return _to_bytes(
            {"explanations": explanations, "model": release.model.facts, "request_id": request_id}
        )

    return _response(answer, media_type, request_id)


def _response(answer: Callable[[], bytes], media_type: str, request_id: str) -> tuple[int, bytes]:
    """Return status and body.

    The caller's fault is a 4xx that lists every problem. Ours is an opaque 500: the traceback goes to
    the log, with the request id, and nowhere else.
    """
    try:
        _refuse_type(media_type)
        return 200, answer()
    except RequestRefused as err:
        return _refusal(err, request_id)
    except Exception:  # the edge of the process: nothing of ours reaches a caller but the id
        _logger.exception("request %s failed", request_id)
        return 500, internal_error(request_id)


def _refuse_type(media_type: str) -> None:
    if media_type != JSON_TYPE and media_type.partition(";")[0].strip().lower() not in (JSON_TYPE, ""):
        told = f"send the body as {JSON_TYPE} (-H 'Content-Type: {JSON_TYPE}')"
        raise RequestRefused("unsupported_media_type", told)


def _predictions(release: Release, predictions: list[Prediction], request_id: str) -> bytes:
    """Return the body of an answer.

    orjson writes null for NaN, which the predictor has refused before: see ``Predictor.answer``.
    """
    content = {"predictions": predictions, "model": release.model.facts, "request_id": request_id}
    return orjson.dumps(content)


def _refusal(err: RequestRefused, request_id: str) -> tuple[int, bytes]:
    return STATUS.get(err.code, 400), error_body(err.code, str(err), request_id, err.problems)


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


def info_body(
    release: Release,
    *,
    source: dict[str, str | None],
    bento: str | None,
    code: str | None,
    refused: dict[str, str | None] | None,
    traffic: dict[str, Any] | None = None,
) -> bytes:
    """Return the body of ``/model/info``: what answers, what it was made from, where it came from.

    Args:
        release: what is served.
        source: where it came from, and the digest of the release baked into the bento.
        bento: the tag of the bento that runs; None outside one.
        code: the digest of all that the bento holds but its release.
        refused: the release that was to be served next and is not, why, and when.
        traffic: the challenger that is tried beside it, and how it does; None without one.
    """
    contract = release.predictor.contract
    record = None if release.record is None else release.record.model_dump(mode="json")
    return _to_bytes(
        {
            "model": release.model.facts,
            "dataset": contract.name,
            "target": {"column": contract.target.column, "unit": contract.target.unit},
            "source": source,
            "bento": bento,
            "code": code,
            "refused": refused,
            "traffic": traffic,
            "made_from": release.facts,
            "record": record,
        }
    )


def _to_bytes(content: dict[str, Any]) -> bytes:
    return _ENCODER.encode(content).encode()

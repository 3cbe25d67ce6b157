"""What the valuation service answers beside predictions: facts about itself, and reports of prices."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import bentoml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.documentation import openapi, page
from bentos.messages import RawRequest
from bentos.worker import WORKER, baked_release
from hedonic.serving.feedback import Report
from hedonic.serving.prediction_log_store import StoreUnavailable
from hedonic.serving.problems import RequestRefused
from hedonic.serving.responses import JSON_TYPE, error_body, info_body

CODE_LABEL = "hedonic.code"
"""Of a bento: the digest of all that it serves with but the release."""


async def model_info(_request: Request) -> Response:
    """Return what is served, what it was made from and where it came from."""
    rollout, bento = WORKER.rollout, bentoml.get_current_service().bento_service.bento
    if rollout is None:
        return not_ready()
    served, refused = rollout.served, rollout.refused
    body = info_body(
        served.release,
        source={"uri": served.source.uri, "kind": served.source.kind, "baked": baked_release()},
        bento=str(bento.tag) if bento else None,
        code=bento.info.labels.get(CODE_LABEL) if bento else None,
        refused=asdict(refused) if refused else None,
        traffic=WORKER.traffic.standing.facts() if WORKER.traffic else None,
    )
    return Response(body, media_type=JSON_TYPE)


async def health(_request: Request) -> Response:
    """Return 200 once the release is loaded, verified and its golden rows are answered, else 503."""
    if WORKER.served is None:
        return not_ready()
    return Response(b'{"status":"ready"}', media_type=JSON_TYPE)


async def schema(_request: Request) -> Response:
    """Return the JSON schema of a request: the contract's."""
    served = WORKER.served
    if served is None:
        return not_ready()
    return Response(json.dumps(served.release.predictor.schema.json_schema()), media_type=JSON_TYPE)


def not_ready() -> Response:
    """Return the answer while no release is served; its body is the envelope's."""
    return Response(status_code=503, headers={"Retry-After": "1"})


async def report_price(raw: RawRequest) -> Response:
    """Take the price that was really paid for an answered request: late, out of order, or again."""
    exchange = raw.exchange
    kept = WORKER.feedback
    if kept is None:
        exchange.answered = True
        told = "this endpoint keeps no log of its answers, so there is nothing to report on"
        return Response(error_body("no_log", told, exchange.request_id), 404, media_type=JSON_TYPE)
    try:
        report = Report.parse(raw.body)
        receipt = await asyncio.to_thread(kept.record, report)
    except RequestRefused as err:
        exchange.answered = True
        body = error_body(err.code, str(err), exchange.request_id, err.problems)
        return Response(body, 400, media_type=JSON_TYPE)
    except StoreUnavailable:
        exchange.answered = True
        told = "the price could not be written down; report it again in a moment"
        body = error_body("log_unavailable", told, exchange.request_id)
        return Response(body, 503, {"Retry-After": "1"}, media_type=JSON_TYPE)
    content = {**asdict(receipt), "request_id": report.request_id, "row": report.row}
    return Response(json.dumps(content), 200 if receipt.known else 202, media_type=JSON_TYPE)


PAGES = [
    Route("/model/info", model_info),
    Route("/health", health),
    Route("/ping", health),
    Route("/schema", schema),
    Route("/docs.json", openapi),
    Route("/", page),
]

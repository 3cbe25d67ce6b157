"""What the valuation service answers beside predictions: facts about itself, and reports of prices."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import bentoml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.worker import WORKER, request_schema
from hedonic.serving.asgi import SCOPE_KEY, Exchange
from hedonic.serving.feedback import Report
from hedonic.serving.prediction_log_store import StoreUnavailable
from hedonic.serving.problems import RequestRefused
from hedonic.serving.responses import JSON_TYPE, error_body, info_body


async def model_info(_request: Request) -> Response:
    """Return what is served, what it was made from and where it came from."""
    served, bento = WORKER.served, bentoml.get_current_service().bento_service.bento
    if served is None:
        return Response(status_code=503)
    body = info_body(served.release, served.source.origin, str(bento.tag) if bento else None)
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
    kept = WORKER.feedback
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


PAGES = [
    Route("/model/info", model_info),
    Route("/health", health),
    Route("/ping", health),
    Route("/schema", schema),
    Route("/feedback", report_price, methods=["POST"]),
]

"""The documentation that the valuation service serves: its OpenAPI document, and a page that shows it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import bentoml
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bentos.openapi import Served, document
from bentos.worker import WORKER
from hedonic.errors import HedonicError
from hedonic.serving.long_jobs import SCORE, TASK_ROUTES
from hedonic.serving.predictor import Release
from hedonic.serving.responses import JSON_TYPE

# BentoML's own page asks Google for a tag manager; this one asks nobody but us.
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Valuation</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<link rel="icon" type="image/png" href="./static_content/favicon-light-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "./docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
</script>
</body>
</html>
"""
_SYSTEM_PATHS = ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json")
_EXAMPLE_ID = "0" * 32


class Documentation:
    """The OpenAPI document of the release that is served, made once a release."""

    def __init__(self) -> None:
        """Hold none yet."""
        self._made = ("", b"")

    def of(self, release: Release, paths: tuple[str, ...]) -> bytes:
        """Return the document about these paths, as JSON."""
        made_for, body = self._made
        if made_for != release.model.release:
            request = release.predictor.schema.json_schema()
            answers = _answers(release, request["example"]["instances"])
            if not answers:
                del request["example"]  # the contract's examples are no row of it: better none
            told = document(Served(request, WORKER.guard_settings, paths, answers))
            body = json.dumps(told).encode()
            self._made = (release.model.release, body)
        return body


DOCUMENTATION = Documentation()


async def openapi(_request: Request) -> Response:
    """Return the OpenAPI document."""
    served = WORKER.served
    if served is None:
        return Response(status_code=503, headers={"Retry-After": "1"})
    service = bentoml.get_current_service().bento_service
    body = await asyncio.to_thread(DOCUMENTATION.of, served.release, _paths(service))
    return Response(body, media_type=JSON_TYPE)


async def page(_request: Request) -> Response:
    """Return the page that shows the OpenAPI document; all that it loads is served by BentoML from here."""
    return HTMLResponse(_PAGE)


def _paths(service: Any) -> tuple[str, ...]:
    """Return every path of the service that is not a file of the page."""
    pages = [route.path for app, _, _ in service.mount_apps for route in app.routes]
    declared = [api.route for api in service.apis.values()]
    tasks = TASK_ROUTES if SCORE in declared else ()
    return (*_SYSTEM_PATHS, *pages, *declared, *tasks)


def _answers(release: Release, instances: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is answered to the example's rows, by the response's name; empty where they are refused."""
    try:
        predictions = release.predictor.predict(instances)
        explanations = release.explainer.explain(release.predictor.schema.check(instances).columns)
    except HedonicError:
        return {}
    about = {"model": release.model.facts, "request_id": _EXAMPLE_ID}
    return {
        "PredictResponse": {"predictions": predictions, **about},
        "ExplainResponse": {"explanations": explanations, **about},
    }

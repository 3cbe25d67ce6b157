"""The servers that ours is measured against; each is an ASGI application for uvicorn.

``HEDONIC_BENCH_RELEASE`` names the release's folder.
"""

import os
from pathlib import Path
from typing import Any

RELEASE = "HEDONIC_BENCH_RELEASE"


def pipeline_app() -> Any:
    """Return FastAPI with the release's model in a scikit-learn pipeline, as tutorials write it.

    One row becomes a data frame, goes through a pipeline of a feature step and LightGBM's scikit-learn
    wrapper of the same trees; the interval's booster is another such pipeline.
    """
    import lightgbm
    import numpy as np
    import pandas as pd
    from fastapi import FastAPI
    from pydantic import BaseModel, create_model
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from hedonic.data.table import columns_from_frame
    from hedonic.model.artifact import PortableModel

    model = PortableModel.load(_release() / "model")
    contract = model.contract
    default = pd.Timestamp("1970-01-01") + pd.Timedelta(days=model.valuation_date_default or 0)

    class Trees(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        """The trees behind scikit-learn's interface."""

        def __init__(self, booster: Any) -> None:
            self.booster = lightgbm.Booster(model_str=booster.text)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, matrix: Any, target: Any) -> "Trees":
            """Return itself."""
            return self

        def predict(self, matrix: Any) -> Any:
            """Return raw scores."""
            return self.booster.predict(matrix)

    def featurise(frame: Any) -> Any:
        if contract.time_column:
            frame = frame.assign(**{contract.time_column: default})
        return model.features.apply(columns_from_frame(contract, frame))

    point = make_pipeline(FunctionTransformer(featurise), Trees(model.point.booster))  # type: ignore[attr-defined]
    width = make_pipeline(FunctionTransformer(featurise), Trees(model.width.booster))  # type: ignore[attr-defined]
    python_types = {"integer": int, "number": float, "boolean": bool}
    fields: Any = {c.name: (python_types.get(c.type, str), ...) for c in contract.inputs}
    row = create_model("Row", **fields)
    request = create_model("Request", instances=(list[row], ...))
    app = FastAPI()

    @app.post("/predict")
    def predict(body: request) -> dict[str, Any]:
        """Return estimates with 90 % intervals."""
        content: BaseModel = body
        frame = pd.DataFrame([instance.model_dump() for instance in content.instances])  # type: ignore[attr-defined]
        estimate = point.predict(frame) + model.level
        low, high = model.conformal.bounds(estimate, width.predict(frame), level=90)
        return {
            "predictions": [
                {"estimate": float(e), "interval_90": [float(a), float(b)]}
                for e, a, b in zip(np.exp(estimate), np.exp(low), np.exp(high), strict=True)
            ]
        }

    return app


def predictor_app() -> Any:
    """Return FastAPI with our predictor, our validation, guard and log of answers: the same duties."""
    from tempfile import TemporaryDirectory

    from fastapi import FastAPI, Request, Response

    from hedonic.serving.answering import Answering
    from hedonic.serving.asgi import SCOPE_KEY
    from hedonic.serving.envelope import Envelope
    from hedonic.serving.guard import Guard
    from hedonic.serving.guard_settings import GuardSettings
    from hedonic.serving.prediction_log import PredictionLog
    from hedonic.serving.predictor import load_release
    from hedonic.serving.responses import JSON_TYPE

    release = load_release(_release())
    folder = TemporaryDirectory(prefix="hedonic-bench-")
    log = PredictionLog.open(str(Path(folder.name) / "log.db"))
    answering = Answering(lambda: release, log)
    app = FastAPI()
    app.state.folder = folder  # removed when the process ends

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Return the same answer as the endpoint."""
        media_type = request.headers.get("content-type", "")
        status, body = await answering.answer(request.scope[SCOPE_KEY], media_type, await request.body())
        return Response(body, status, media_type=JSON_TYPE)

    return Envelope(Guard(app, GuardSettings()))


async def echo_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer any request with a fixed body: the floor under every server."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _release() -> Path:
    return Path(os.environ[RELEASE])

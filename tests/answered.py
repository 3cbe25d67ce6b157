"""Answered requests such as the service logs them, for tests of the prediction log."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from hedonic.serving.prediction_log_entry import Answered

RELEASE = "a" * 64


def prediction(estimate: float, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "estimate": estimate,
        "unit": "USD",
        "interval_80": [estimate * 0.9, estimate * 1.1],
        "interval_90": [estimate * 0.8, estimate * 1.2],
        "confidence": {"grade": "B", "reason": "the 90 % interval is 40% of the estimate wide"},
        "warnings": list(warnings),
    }


def answered(*instances: dict[str, Any], estimates: tuple[float, ...] = (), **changes: Any) -> Answered:
    """Return an answered request with these instances; by default one, of a house that is like no other."""
    rows = instances or ({"sqft_living": 1180, "zipcode": "98178", "waterfront": False},)
    said = estimates or tuple(221_900.1 + row for row in range(len(rows)))
    request_id = changes.pop("request_id", uuid.uuid4().hex)
    response = {"predictions": [prediction(estimate) for estimate in said], "request_id": request_id}
    fields: dict[str, Any] = {
        "request_id": request_id,
        "at_us": time.time_ns() // 1000,
        "role": "served",
        "dataset": "king_county",
        "release": RELEASE,
        "route": "/predict",
        "n_rows": len(rows),
        "latency_ms": 0.25,
        "request": json.dumps({"instances": list(rows)}).encode(),
        "response": json.dumps(response).encode(),
    }
    return Answered(**{**fields, **changes})

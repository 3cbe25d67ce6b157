"""Readiness of an endpoint: what it says that it serves, asked until it is what was wanted."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from hedonic.errors import ReleaseRefused

_POLL_S = 0.1
_TIMEOUT_S = 2.0


def ready_info(url: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what ``/model/info`` says once ``/readyz`` says yes; None before."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=_TIMEOUT_S):
            pass
        asked = urllib.request.Request(f"{url}/model/info", headers=dict(headers))  # noqa: S310 (our endpoint)
        with opener.open(asked, timeout=_TIMEOUT_S) as answer:
            content = json.load(answer)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return content if isinstance(content, dict) and {"model", "dataset", "bento"} <= content.keys() else None


def release_at(url: str, headers: Mapping[str, str]) -> str | None:
    """Return the release that is served at ``url`` now; None while nothing there is ready."""
    info = ready_info(url, headers)
    return info["model"]["release"] if info else None


def looks(url: str, headers: Mapping[str, str], limit_s: float) -> Iterator[dict[str, Any]]:
    """Give what the endpoint says, again and again for so long; empty while it is not ready."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        yield ready_info(url, headers) or {}
        time.sleep(_POLL_S)


def serves(info: Mapping[str, Any], release: str) -> bool:
    """Return whether what an endpoint said names the release as served."""
    return bool(info) and info["model"]["release"] == release


def refuse_what_was_refused(info: Mapping[str, Any], release: str, asked_at: datetime, where: str) -> None:
    """Raise ReleaseRefused where the endpoint refused the release since it was asked to look."""
    refused = info.get("refused")
    if refused and refused["release"] == release and datetime.fromisoformat(refused["at"]) >= asked_at:
        served = info["model"]["release"]
        raise ReleaseRefused(
            f"{where}: refused, and release {served[:16]} is still served: {refused['reason']}"
        )

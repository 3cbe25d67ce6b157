"""What MLflow, Optuna and the endpoints tell: ids that links need, and whether a part answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from hedonic.promotion.registry.aliases import CHAMPION
from hedonic.promotion.registry.store import model_name


@dataclass(frozen=True, slots=True)
class Tracked:
    """A data set in MLflow: its experiment, and the champion's version; None where there is none."""

    experiment: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A part that answered its probe."""

    latency_ms: float


async def probe(client: httpx.AsyncClient, url: str) -> Answered:
    """Return how long the part took to say that it is ready.

    Raises:
        OSError: it does not answer, or says that it is not.
    """
    began = time.perf_counter()
    answer = await _get(client, url)
    if not answer.is_success:
        raise OSError(f"answers with status {answer.status_code}")
    return Answered(latency_ms=round(1000 * (time.perf_counter() - began), 1))


async def tracked(client: httpx.AsyncClient, mlflow: str, datasets: Iterable[str]) -> dict[str, Tracked]:
    """Return each data set's experiment and champion in MLflow."""
    found = {}
    for dataset in datasets:
        name, api = model_name(dataset), f"{mlflow}/api/2.0/mlflow"
        experiment = await _told(client, f"{api}/experiments/get-by-name", experiment_name=name)
        version = await _told(client, f"{api}/registered-models/alias", name=name, alias=CHAMPION)
        found[dataset] = Tracked(
            experiment=experiment["experiment"]["experiment_id"] if experiment else None,
            version=version["model_version"]["version"] if version else None,
        )
    return found


async def studies(client: httpx.AsyncClient, optuna: str) -> dict[str, int]:
    """Return the id by which the dashboard knows each study, by name; the latest last."""
    told = await _told(client, f"{optuna}/api/studies")
    return {study["study_name"]: study["study_id"] for study in (told or {}).get("study_summaries", ())}


async def served(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> str | None:
    """Return the digest of the release that an endpoint serves; None while it serves none."""
    answer = await _get(client, f"{url}/model/info", headers)
    if not answer.is_success:
        return None
    release = answer.json()["model"]["release"]
    return None if release is None else str(release)


async def _told(client: httpx.AsyncClient, url: str, **asked: str) -> dict[str, Any] | None:
    """Return the answer as JSON; None when there is no such thing."""
    answer = await _get(client, url, params=asked)
    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
        return None
    if not answer.is_success:
        raise OSError(f"{url} answers with status {answer.status_code}")
    content: dict[str, Any] = answer.json()
    return content


async def _get(
    client: httpx.AsyncClient, url: str, headers: dict[str, str] | None = None, params: Any = None
) -> httpx.Response:
    try:
        return await client.get(url, headers=headers, params=params)
    except httpx.HTTPError as err:
        told = "no answer in time" if isinstance(err, httpx.TimeoutException) else "nothing answers"
        raise OSError(f"{told} at {url}") from err

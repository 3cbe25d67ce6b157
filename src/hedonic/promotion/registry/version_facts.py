"""What MLflow has written down about a model version."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hedonic.model.artifact import folder_digest
from hedonic.promotion.registry.model_version import TAG_MODEL, TAG_RELEASE
from hedonic.promotion.registry.store import has_store, model_name, open_client
from hedonic.settings import Settings


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What MLflow has written down about a model version.

    Attributes:
        run_id: of the run that made it; ``known`` is whether MLflow still has that run.
        release: digest of the release that it became, if it did.
        model: digest of the model's files as they are there now; None where they are gone.
        recorded_model: the same, as it was when it was registered.
    """

    run_id: str | None
    known: bool
    release: str | None
    model: str | None
    recorded_model: str | None


def version_facts(settings: Settings, dataset: str, version: str) -> VersionFacts | None:
    """Return what MLflow knows of a model version; None where it has no such version, or no store."""
    from mlflow.exceptions import MlflowException

    if not has_store(settings):
        return None
    client = open_client(settings)
    try:
        found = client.get_model_version(model_name(dataset), version)
    except MlflowException:
        return None
    try:
        run = client.get_run(found.run_id) if found.run_id else None
    except MlflowException:
        run = None
    return VersionFacts(
        run_id=found.run_id,
        known=run is not None and run.info.lifecycle_stage == "active",
        release=found.tags.get(TAG_RELEASE),
        model=_digest_of_artifacts(settings, f"{found.source}/data/model") if found.source else None,
        recorded_model=found.tags.get(TAG_MODEL),
    )


def _digest_of_artifacts(settings: Settings, uri: str) -> str | None:
    """Return the digest of a folder in MLflow's artifact store, wherever that is; None where it is gone."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.home, prefix=".artifacts-") as scratch:
        try:
            folder = download_artifacts(
                artifact_uri=uri, dst_path=scratch, tracking_uri=settings.tracking_uri
            )
        except (MlflowException, OSError):
            return None
        return folder_digest(Path(folder))

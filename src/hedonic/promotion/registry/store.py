"""MLflow's store of runs and models: ours in a file, or a server's; made whole where there is none."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hedonic.process_environment import QUIET_ENVIRONMENT
from hedonic.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


def model_name(dataset: str) -> str:
    """Return the name of the registered model, and of the experiment, of a data set."""
    return f"hedonic-{dataset}"


def open_client(settings: Settings) -> MlflowClient:
    """Return a client of our store alone: no global tracking URI is set, nothing is sent anywhere."""
    # MLflow reads this when it is imported; a caller's own environment goes first.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", QUIET_ENVIRONMENT["MLFLOW_DISABLE_TELEMETRY"])
    from mlflow import MlflowClient

    if settings.services.mlflow is None:
        _make_store(settings)
    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def has_store(settings: Settings) -> bool:
    """Return whether there is a store yet; a server elsewhere has one."""
    return settings.services.mlflow is not None or store_file(settings).exists()


def store_file(settings: Settings) -> Path:
    """Return the file of our own store."""
    return Path(settings.tracking_uri.removeprefix("sqlite:///"))


def _make_store(settings: Settings) -> None:
    """Make the SQLite store where there is none: whole or not at all, by one process at a time.

    MLflow itself creates some fifty tables one by one: two processes collide there, and a kill
    leaves a store that never opens again.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = store_file(settings)
    if store.exists():
        return
    store.parent.mkdir(parents=True, exist_ok=True)
    with (store.parent / "store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if store.exists():
            return
        with tempfile.TemporaryDirectory(dir=store.parent, prefix=".new-") as scratch:
            made = Path(scratch) / store.name
            artifacts = settings.mlflow_artifacts.as_uri()
            empty = SqlAlchemyStore(f"sqlite:///{made}", artifacts)  # type: ignore[no-untyped-call]
            empty.engine.dispose()
            made.replace(store)

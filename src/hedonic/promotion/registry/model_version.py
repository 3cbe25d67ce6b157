"""A model version: the portable model as MLflow keeps it, with signature, example, figures and tags."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hedonic.data.contract import Column, Contract
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.promotion.served_frame import OUTPUTS, VALUATION_DATE
from hedonic.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

Decision = Literal["challenger", "rejected"]

EXAMPLE_ROWS = 5
LOADER = "hedonic.promotion.served_frame"

TAG_MODEL = "hedonic.model"
TAG_RELEASE = "hedonic.release"
TAG_STATUS = "hedonic.status"

# What loading and predicting import; the versions are those that made the model.
_REQUIREMENTS = ("lightgbm", "mlflow", "numpy", "pandas", "pydantic", "pydantic-settings", "pyyaml")


def schema_of(columns: Sequence[Column]) -> Schema:
    """Return MLflow's schema of the columns; what may be missing is optional."""
    from mlflow.types import ColSpec, Schema

    return Schema([ColSpec(_mlflow_type(c), c.name, required=not c.nullable) for c in columns])


def signature_of(contract: Contract) -> ModelSignature:
    """Return the signature: the contract's inputs, as a caller over HTTP sends them, and the answer.

    The optional ``valuation_date`` has no type of MLflow's, for it may be a date or ISO text.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    inputs = schema_of(contract.inputs).inputs
    if contract.time_column:
        inputs = [*inputs, ColSpec(AnyType(), VALUATION_DATE, required=False)]  # type: ignore[no-untyped-call]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", o) for o in OUTPUTS]))


def _mlflow_type(column: Column) -> str:
    match column.type:
        case "integer":
            # An integer column with missing values reaches pandas as float64.
            return "double" if column.nullable else "long"
        case "number":
            return "double"
        case "boolean":
            return "boolean"
        case "date":
            return "datetime"
        case "category" | "text":
            return "string"


def register_version(
    settings: Settings,
    model_folder: Path,
    *,
    run_id: str,
    decision: Decision,
    example: pd.DataFrame,
    description: str,
    figures: Mapping[str, float],
    tags: Mapping[str, str],
) -> int:
    """Return the number of the model version that now holds the portable model.

    The model is kept as a pyfunc whose files are the portable model's own: no pickle. The same
    model of the same run is registered once; its status, tags and description follow the last call.

    Args:
        settings: name the store.
        model_folder: a ``PortableModel``'s folder.
        run_id: of the MLflow run that made it.
        decision: ``challenger`` behind a promoting verdict, else ``rejected``.
        example: rows of inputs; the first five are kept as the input example.
        description: Markdown, as ``describe`` gives it.
        figures: put on the model as metrics.
        tags: such as links to the study, the trial and the Prefect run.
    """
    client = open_client(settings)
    model = PortableModel.load(model_folder)
    name, digest = model_name(model.contract.name), folder_digest(model_folder)
    _ensure_registered(client, name, model.contract.title)
    all_tags = {**tags, TAG_MODEL: digest, TAG_STATUS: decision}
    known = [v for v in versions(client, name, TAG_MODEL, digest) if v.run_id == run_id]
    if known:
        version = known[0]
        for key, value in all_tags.items():
            client.set_model_version_tag(name, version.version, key, value)
        client.update_model_version(name, version.version, description)
        return int(version.version)
    logged = _log_model(client, model, model_folder, run_id, example, figures, all_tags)
    created = client.create_model_version(
        name,
        # Not models:/<id>, which MLflow would look up at the global tracking URI.
        source=logged.artifact_location,
        run_id=run_id,
        tags=all_tags,
        description=description,
        model_id=logged.model_id,
    )
    # How MLflow's own register_model ties the logged model's page to its version.
    linked = json.dumps([{"name": name, "version": created.version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": linked})
    return int(created.version)


def _log_model(
    client: MlflowClient,
    model: PortableModel,
    model_folder: Path,
    run_id: str,
    example: pd.DataFrame,
    figures: Mapping[str, float],
    tags: Mapping[str, str],
) -> LoggedModel:
    """Return MLflow's logged model, made of the portable model's files."""
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(
        experiment, name="model", source_run_id=run_id, tags=dict(tags), model_type=model.family
    )
    names = [column.name for column in model.contract.inputs]
    with tempfile.TemporaryDirectory(prefix="hedonic-model-") as scratch:
        saved = Path(scratch) / "model"
        mlflow.pyfunc.save_model(
            saved,
            loader_module=LOADER,
            data_path=str(model_folder),
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            ),
            signature=signature_of(model.contract),
            input_example=example[names].head(EXAMPLE_ROWS).reset_index(drop=True),
            pip_requirements=[f"{package}=={installed(package)}" for package in _REQUIREMENTS],
        )
        client.log_model_artifacts(logged.model_id, str(saved))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    when = logged.creation_timestamp
    client.log_batch(
        run_id, [Metric(name, value, when, 0, logged.model_id) for name, value in figures.items()]
    )
    return logged


def link_release(settings: Settings, dataset: str, version: int, release_digest: str) -> None:
    """Note on the version which release it became; the registry finds it by that."""
    client = open_client(settings)
    client.set_model_version_tag(model_name(dataset), str(version), TAG_RELEASE, release_digest)


def reject_version(settings: Settings, dataset: str, version: int) -> None:
    """Note on a version that was registered as a challenger that it was refused after all."""
    rejected: Decision = "rejected"
    open_client(settings).set_model_version_tag(model_name(dataset), str(version), TAG_STATUS, rejected)


def versions(client: MlflowClient, name: str, tag: str, value: str) -> list[ModelVersion]:
    """Return the versions of a registered model whose tag has that value."""
    return list(client.search_model_versions(f"name = '{name}' and tags.`{tag}` = '{value}'"))


def _ensure_registered(client: MlflowClient, name: str, title: str) -> None:
    from mlflow.exceptions import MlflowException

    if client.search_registered_models(f"name = '{name}'"):
        return
    try:
        client.create_registered_model(name, description=title)
    except MlflowException as err:
        # Made by another process since we looked.
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise

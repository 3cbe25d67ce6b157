"""The registered model: MLflow's versions and aliases as a projection of the history."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import SQLAlchemyError

from hedonic.data.contract import Column, Contract
from hedonic.errors import HedonicError
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.process_environment import QUIET_ENVIRONMENT
from hedonic.promotion.evaluation import Evaluation
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

CHAMPION, CHALLENGER = "champion", "challenger"
EXAMPLE_ROWS = 5
LOADER = "hedonic.promotion.served_frame"

TAG_MODEL = "hedonic.model"
TAG_RELEASE = "hedonic.release"
TAG_STATUS = "hedonic.status"
TAG_HEAD = "hedonic.history.head"

# What loading and predicting import; the versions are those that made the model.
_REQUIREMENTS = ("lightgbm", "mlflow", "numpy", "pandas", "pydantic", "pydantic-settings", "pyyaml")


# What a reader of the version's description looks for first.
_DESCRIBED = (
    "rmse", "mae", "r2", "mape_pct", "wmape_pct", "mdape_pct", "within_10_pct", "within_20_pct", "log_rmse",
    "coverage_80_pct", "coverage_90_pct", "median_width_90_pct",
)  # fmt: skip


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
    return settings.services.mlflow is not None or _store_file(settings).exists()


def _store_file(settings: Settings) -> Path:
    return Path(settings.tracking_uri.removeprefix("sqlite:///"))


def _make_store(settings: Settings) -> None:
    """Make the SQLite store where there is none: whole or not at all, by one process at a time.

    MLflow itself creates some fifty tables one by one: two processes collide there, and a kill
    leaves a store that never opens again.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = _store_file(settings)
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
    known = [v for v in _versions(client, name, TAG_MODEL, digest) if v.run_id == run_id]
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
    """Note on the version which release it became; ``project_champion`` finds it by that."""
    client = open_client(settings)
    client.set_model_version_tag(model_name(dataset), str(version), TAG_RELEASE, release_digest)


def reject_version(settings: Settings, dataset: str, version: int) -> None:
    """Note on a version that was registered as a challenger that it was refused after all."""
    rejected: Decision = "rejected"
    open_client(settings).set_model_version_tag(model_name(dataset), str(version), TAG_STATUS, rejected)


@dataclass(frozen=True, slots=True)
class RegistryView:
    """What the store says of a data set, for comparing it with the history.

    Attributes:
        champion: the version that has the alias; None where none has.
        wanted: the version that should have it, by the release asked for; None where none is linked to it.
        head: the tag with the history's head; None before it was first written.
    """

    champion: int | None
    wanted: int | None
    head: str | None


def view(settings: Settings, dataset: str, release_digest: str | None) -> RegistryView | None:
    """Return what the store says of a data set whose champion is that release; None of an unknown one.

    Raises:
        HedonicError: the store cannot be read.
    """
    if not has_store(settings):
        return None
    from mlflow.exceptions import MlflowException

    try:
        client, name = open_client(settings), model_name(dataset)
        found = client.search_registered_models(f"name = '{name}'")
        if not found:
            return None
        alias = client.get_registered_model(name).aliases.get(CHAMPION)
        return RegistryView(
            champion=int(alias) if alias is not None else None,
            wanted=_linked(client, name, release_digest),
            head=found[0].tags.get(TAG_HEAD),
        )
    except (MlflowException, SQLAlchemyError) as err:
        raise HedonicError(
            f"{_store_file(settings)}: MLflow cannot read its store: {err}. Restore it, or move it away: it "
            "is made anew."
        ) from err


def project_head(settings: Settings, dataset: str, head: str) -> None:
    """Write the history's head as a tag of the registered model, if there is one."""
    client, name = open_client(settings), model_name(dataset)
    if client.search_registered_models(f"name = '{name}'"):
        client.set_registered_model_tag(name, TAG_HEAD, head)


def project_champion(
    settings: Settings, dataset: str, release_digest: str | None, rejected: Collection[str] = ()
) -> int | None:
    """Return the version that is ``champion`` now that the aliases follow the history.

    Called after a promotion and, as a repair, at every start: what holds already is left alone.
    ``challenger`` is the newest promoted-to-challenger version after the champion, if there is one.

    Args:
        settings: name the store.
        dataset: the data set.
        release_digest: of the history's champion; None when there is none.
        rejected: releases that were refused since they were registered: no challengers.

    Returns:
        The champion's version; None without a champion, or when no version of this store is
        linked to its release (a store that was lost): then there is no alias ``champion`` either.
    """
    from mlflow.exceptions import MlflowException

    client, name = open_client(settings), model_name(dataset)
    if not client.search_registered_models(f"name = '{name}'"):
        return None
    champion = _linked(client, name, release_digest)
    passed = [
        int(v.version)
        for v in _versions(client, name, TAG_STATUS, CHALLENGER)
        if v.tags.get(TAG_RELEASE) not in rejected
    ]
    challenger = max((v for v in passed if v > (champion or 0)), default=None)
    wanted = {CHAMPION: champion, CHALLENGER: challenger}
    try:
        _set_aliases(client, name, wanted)
    except MlflowException:
        # Another process writes the same projection of the same history: look, and write once more.
        _set_aliases(client, name, wanted)
    return champion


def _linked(client: MlflowClient, name: str, release_digest: str | None) -> int | None:
    """Return the newest version that is linked to a release."""
    linked = _versions(client, name, TAG_RELEASE, release_digest) if release_digest else []
    return max((int(v.version) for v in linked), default=None)


def _set_aliases(client: MlflowClient, name: str, wanted: Mapping[str, int | None]) -> None:
    there = {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()}
    for alias, version in wanted.items():
        if there.get(alias) == version:
            continue
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(version))


def _versions(client: MlflowClient, name: str, tag: str, value: str) -> list[ModelVersion]:
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


def describe(
    evaluation: Evaluation,
    *,
    verdict: str,
    reasons: Sequence[str],
    family: str,
    study: str,
    trial: int,
    links: Mapping[str, str],
) -> str:
    """Return the Markdown description of a version: verdict, figures, study and links."""
    figures = evaluation.figures
    rows = [(name, figures.get(name)) for name in _DESCRIBED]
    cells = [
        f"| `{name}` | {f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'} |"
        for name, value in rows
        if value is not None
    ]
    beside = [
        f"| {name} | {metrics.log_rmse:.4f} | {metrics.mdape_pct:.2f} |"
        for name, metrics in (("**this model**", evaluation.overall), *evaluation.baselines.items())
    ]
    findings = [f"- {f.outcome}: `{f.statistic}` {f.sentence}" for f in evaluation.ratio_study.findings]
    linked = [f"- [{name}]({url})" if "://" in url else f"- {name}: `{url}`" for name, url in links.items()]
    parts = [
        f"**{verdict}**: a {family} model of `{evaluation.dataset}`, judged on {evaluation.n_rows:,} "
        f"holdout rows, in {evaluation.unit}.",
        "\n".join(f"- {reason}" for reason in reasons),
        "\n".join(["| figure | holdout |", "|---|---|", *cells]),
        "\n".join(["| beside | log_rmse | mdape_pct |", "|---|---|---|", *beside]),
        "\n".join(["Appraisal ratio study:", "", *findings]),
        f"Study `{study}`, trial {trial}. Evaluation `{evaluation.sha256[:16]}`.",
        "\n".join(linked),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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

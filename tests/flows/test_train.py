"""The training flow, for real: Prefect, Great Expectations, Optuna, MLflow, BentoML and a served endpoint."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.train import train
from hedonic.data.contract_file import load_contract
from hedonic.errors import SourceError, ValidationRefused
from hedonic.promotion.history import History
from hedonic.serving.predictor import load_release
from hedonic.settings import Settings
from tests.project import write_contract

pytestmark = pytest.mark.slow

DATASET = "small_county"


@pytest.fixture(scope="module")
def promoted(project: Settings) -> Any:
    """The first run of the module: there is no champion yet."""
    return train(dataset=DATASET, reason="first")


def ask(url: str, instances: list[dict[str, Any]]) -> dict[str, Any]:
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: dict[str, Any] = json.load(answer)
        return content


def test_the_first_candidate_within_the_limits_is_promoted_and_served(
    promoted: Any, project: Settings
) -> None:
    assert promoted.outcome == "promoted"
    champion = History(project.history).champion(DATASET)
    assert champion is not None
    assert champion.release == promoted.release
    pointer = json.loads((project.serving / f"{DATASET}.json").read_text())
    assert pointer["release"] == promoted.release
    assert promoted.prediction["model"]["release"] == promoted.release
    assert promoted.prediction["predictions"][0]["estimate"] > 50_000


def test_a_release_holds_nothing_that_needs_pickle_and_no_clock_or_path(
    promoted: Any, project: Settings
) -> None:
    folder = project.releases / DATASET / promoted.release
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".npy", ".txt"}
    manifest = (folder / "manifest.json").read_text()
    assert str(project.home) not in manifest
    assert "2026" not in json.dumps(json.loads(manifest)["configuration"])
    record = json.loads((folder / "record.json").read_text())
    assert record["mlflow_run_id"]
    assert record["study"].startswith(DATASET)


def test_a_copy_of_the_release_and_its_record_is_in_the_release_store(
    promoted: Any, project: Settings
) -> None:
    release = load_release(project.root / "store" / DATASET / promoted.release)
    assert release.record is not None
    assert release.record.version == promoted.prediction["model"]["version"]


def test_mlflow_champion_answers_as_the_endpoint_does(promoted: Any, project: Settings) -> None:
    import mlflow

    contract = load_contract(project.expectations / f"{DATASET}.yaml")
    frame = pd.read_parquet(project.root / "data" / f"{DATASET}.parquet").tail(30)
    inputs = frame[[column.name for column in contract.inputs]].astype({"zipcode": str})
    mlflow.set_tracking_uri(project.tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/hedonic-{DATASET}@champion")
    theirs = model.predict(inputs)
    rows = json.loads(inputs.to_json(orient="records"))
    served = ask(promoted.endpoint, rows)["predictions"]
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), [row["estimate"] for row in served], rtol=1e-9)


def test_mlflow_holds_a_run_a_step_and_a_trial(promoted: Any, project: Settings) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(project.tracking_uri)
    experiment = client.get_experiment_by_name(f"hedonic-{DATASET}")
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_name for run in runs}
    assert {"ingest", "validate", "tune", "train", "evaluate", "decide", "release"} <= names
    assert {"trial-0", "trial-1", "trial-2"} <= names
    flow_run = next(run for run in runs if run.data.tags.get("hedonic.step") == "flow")
    assert flow_run.data.tags["hedonic.verdict"] == "promoted"
    assert flow_run.inputs.dataset_inputs[0].dataset.name == DATASET
    step = next(run for run in runs if run.info.run_name == "evaluate")
    plots = {artifact.path for artifact in client.list_artifacts(step.info.run_id)}
    assert {"predicted_against_actual.png", "residuals_on_map.png"} <= plots


def flow_runs(project: Settings) -> list[Any]:
    """Return the MLflow runs of whole flow runs, the latest first."""
    from mlflow import MlflowClient

    client = MlflowClient(project.tracking_uri)
    experiment = client.get_experiment_by_name(f"hedonic-{DATASET}")
    found = client.search_runs([experiment.experiment_id], "tags.`hedonic.step` = 'flow'")
    return list(found)


def test_great_expectations_opens_what_the_flow_left(promoted: Any, project: Settings) -> None:
    import great_expectations as gx

    context = gx.get_context(mode="file", context_root_dir=project.gx)
    assert any(DATASET in suite.name for suite in context.suites.all())
    assert list(context.checkpoints.all())
    assert (project.data_docs / "index.html").is_file()


def test_optuna_opens_the_study_that_is_linked_to_its_runs(promoted: Any, project: Settings) -> None:
    import optuna

    from hedonic.model.search import open_storage

    (summary,) = optuna.get_all_study_summaries(open_storage(project.studies))
    assert summary.study_name.startswith(f"{DATASET}-20")
    study = optuna.load_study(study_name=summary.study_name, storage=open_storage(project.studies))
    assert len(study.trials) == 3
    assert {"mlflow_run", "prefect_flow_run"} <= set(study.trials[0].user_attrs)


def test_an_unchanged_data_set_trains_nothing(promoted: Any, project: Settings) -> None:
    before = len(History(project.history).records(DATASET))
    again = train(dataset=DATASET)
    assert again.outcome == "unchanged"
    assert again.release == promoted.release
    assert len(History(project.history).records(DATASET)) == before


def test_a_step_done_again_on_the_same_data_keeps_the_champion(promoted: Any, project: Settings) -> None:
    again = train(dataset=DATASET, from_step="evaluate")
    assert again.outcome == "kept"
    assert any(finding.check == "same-model" for finding in again.verdict.issues)
    champion = History(project.history).champion(DATASET)
    assert champion is not None
    assert champion.release == promoted.release


def test_a_candidate_beyond_a_limit_is_refused_and_the_champion_stays(
    promoted: Any, project: Settings
) -> None:
    write_contract(project.root, gate={"limits": [{"metric": "mdape_pct", "maximum": 0.1}]})
    refused = train(dataset=DATASET, reason="hopeless limit")
    assert refused.outcome == "refused"
    assert refused.release is None
    assert any("mdape_pct" in finding.sentence for finding in refused.verdict.issues)
    champion = History(project.history).champion(DATASET)
    assert champion is not None
    assert champion.release == promoted.release


def test_sales_at_negative_prices_stop_the_run_by_name(promoted: Any, project: Settings) -> None:
    write_contract(project.root)
    source = project.root / "data" / f"{DATASET}.parquet"
    sound = source.read_bytes()
    sales = pd.read_parquet(source)
    sales.loc[:99, "price"] = -1
    sales.to_parquet(source, index=False)
    try:
        with pytest.raises(ValidationRefused, match="100 rows have price") as caught:
            train(dataset=DATASET, reason="bad prices")
    finally:
        source.write_bytes(sound)
    assert caught.value.exit_code == 2
    latest = flow_runs(project)[0]
    assert (latest.data.tags["hedonic.reason"], latest.info.status) == ("bad prices", "FAILED")
    champion = History(project.history).champion(DATASET)
    assert champion is not None
    assert champion.release == promoted.release


def test_a_missing_source_stops_the_run_by_name(project: Settings) -> None:
    write_contract(project.root, source={"uri": "data/nowhere.parquet"})
    try:
        with pytest.raises(SourceError, match=r"nowhere\.parquet does not exist"):
            train(dataset=DATASET)
    finally:
        write_contract(project.root)


def test_the_flows_form_is_typed() -> None:
    properties = train.parameters.properties
    assert properties["trials"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert properties["from_step"]["anyOf"][0]["enum"] == [
        "validate", "tune", "train", "simplify", "evaluate", "decide",
    ]  # fmt: skip
    assert "boosting" in json.dumps(properties["families"])

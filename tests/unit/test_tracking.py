"""What a flow leaves in a real MLflow store: runs, steps, trials, curves, datasets, links."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hedonic.promotion.registry.store import open_client
from hedonic.settings import Settings
from hedonic.tracking import Tracking, TrialRecord

# A real store of the vendor's: make test, not make check.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    return Settings(home=home, root=home)


@pytest.fixture(scope="module")
def opened(settings) -> list[Tracking]:
    """Open a new store from two tasks at once; the module keeps it, for making one costs seconds."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: Tracking(settings, "village"), range(2)))


@pytest.fixture(scope="module")
def tracking(opened) -> Tracking:
    return opened[0]


@pytest.fixture(scope="module")
def client(settings, opened):
    return open_client(settings)


@pytest.fixture
def flow_run(tracking) -> str:
    return tracking.start_flow_run("train village", {})


def trial(number: int, state: str = "COMPLETE", loss: float | None = 0.2) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,
        loss=loss,
        parameters={"family": "boosting", "num_leaves": 31, "learning_rate": 0.05},
        fold_losses=(0.21, 0.19),
        duration_s=1.5,
        tags={"optuna.study": "village-2026", "prefect.flow_run_id": "f-1"},
    )


def test_the_experiment_is_named_for_the_data_set_and_keeps_its_files_in_our_home(settings, client, tracking):
    found = client.get_experiment_by_name("hedonic-village")
    assert found.experiment_id == tracking.experiment_id
    assert found.artifact_location == (settings.home / "mlflow" / "artifacts" / "village").as_uri()


def test_two_tasks_that_open_a_new_store_at_once_share_it(opened, settings):
    first, second = opened
    assert first.experiment_id == second.experiment_id
    assert sorted(p.name for p in (settings.home / "mlflow").iterdir()) == ["mlflow.db", "store.lock"]


def test_a_store_whose_making_was_cut_short_is_made_anew(tmp_path, monkeypatch):
    import mlflow.store.tracking.sqlalchemy_store as stores

    def cut_short(uri: str, _artifacts: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise KeyboardInterrupt("killed")

    settings = Settings(home=tmp_path, root=tmp_path)
    monkeypatch.setattr(stores, "SqlAlchemyStore", cut_short)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        open_client(settings)
    assert not (tmp_path / "mlflow" / "mlflow.db").exists()


def test_another_task_finds_the_same_experiment(settings, tracking):
    assert Tracking(settings, "village").experiment_id == tracking.experiment_id


def test_an_experiment_deleted_in_the_ui_is_brought_back(settings, client):
    first = Tracking(settings, "hamlet")
    client.delete_experiment(first.experiment_id)
    assert Tracking(settings, "hamlet").start_flow_run("train", {})


def test_a_flow_run_has_its_tags_and_runs_until_it_is_finished(tracking, client):
    run_id = tracking.start_flow_run("train village", {"prefect.flow_run_id": "f-9", "git.commit": "abc"})
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("train village", "RUNNING")
    assert run.data.tags["git.commit"] == "abc"

    tracking.finish(run_id, "FAILED")
    assert client.get_run(run_id).info.status == "FAILED"


def test_a_flow_run_that_resumes_goes_on_in_the_run_it_began(tracking, client):
    first = tracking.start_flow_run("train", {"prefect.flow_run_id": "f-resumed"})
    tracking.finish(first, "FAILED")
    assert tracking.start_flow_run("train", {"prefect.flow_run_id": "f-resumed"}) == first
    assert client.get_run(first).info.status == "RUNNING"
    assert tracking.start_flow_run("train", {"prefect.flow_run_id": "f-other"}) != first


def test_a_step_is_a_child_with_params_metrics_tags_and_files(tracking, client, flow_run, tmp_path):
    report, plots = tmp_path / "evaluation.json", tmp_path / "plots"
    report.write_text("{}")
    plots.mkdir()
    (plots / "map.png").write_bytes(b"png")

    run_id = tracking.log_step(
        flow_run,
        "evaluate",
        params={"seed": 0, "family": "ridge"},
        metrics={"log_rmse": 0.17, "r2": None},
        tags={"hedonic.snapshot": "d" * 64},
        artifacts=[report, plots],
    )

    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("evaluate", "FINISHED")
    assert run.data.tags["mlflow.parentRunId"] == flow_run
    assert run.data.tags["hedonic.snapshot"] == "d" * 64
    assert run.data.params == {"seed": "0", "family": "ridge"}
    assert run.data.metrics == {"log_rmse": 0.17}
    assert [entry.path for entry in client.list_artifacts(run_id)] == ["evaluation.json", "plots"]
    assert [entry.path for entry in client.list_artifacts(run_id, "plots")] == ["plots/map.png"]


def test_a_step_that_is_tried_again_replaces_what_the_first_try_left(tracking, client, flow_run):
    first = tracking.start_step(flow_run, "tune")
    tracking.log_trials(first, [trial(0)], metric="log_rmse")
    second = tracking.log_step(flow_run, "tune", params={"trials": 2})

    children = client.search_runs([tracking.experiment_id], f"tags.`mlflow.parentRunId` = '{flow_run}'")
    assert [run.info.run_id for run in children] == [second]
    assert client.get_run(first).info.lifecycle_stage == "deleted"
    assert not client.search_runs([tracking.experiment_id], f"tags.`mlflow.parentRunId` = '{first}'")


def test_more_params_metrics_and_tags_than_one_request_takes_are_all_kept(tracking, client, flow_run):
    run_id = tracking.log_step(
        flow_run,
        "many",
        params={f"p{n}": n for n in range(250)},
        metrics={f"m{n}": n for n in range(1700)},
        tags={f"t{n}": str(n) for n in range(120)},
    )
    data = client.get_run(run_id).data
    assert len(data.params) == 250
    assert len(data.metrics) == 1700
    assert data.tags["t119"] == "119"


def test_a_parameter_that_a_second_try_changes_stays_and_the_new_value_is_a_tag(tracking, client, flow_run):
    tracking.log(flow_run, params={"study": "village-1", "family": "ridge"})
    again = {"study": "village-2", "family": "ridge", "trial": 3}
    tracking.log(flow_run, params=again, metrics={"loss": 1.0})
    data = client.get_run(flow_run).data
    assert data.params == {"study": "village-1", "family": "ridge", "trial": "3"}
    assert data.tags["again.study"] == "village-2"
    assert data.metrics == {"loss": 1.0}


def test_trials_stand_below_the_step_that_tuned_with_loss_folds_and_links(tracking, client, flow_run):
    step = tracking.start_step(flow_run, "tune")
    runs = tracking.log_trials(
        step, [trial(0), trial(1, "PRUNED", None), trial(2, "FAIL", None)], metric="log_rmse"
    )

    assert list(runs) == [0, 1, 2]
    done = client.get_run(runs[0])
    assert done.data.tags["mlflow.parentRunId"] == step
    assert done.data.tags["optuna.study"] == "village-2026"
    assert done.data.params == {"family": "boosting", "num_leaves": "31", "learning_rate": "0.05"}
    assert done.data.metrics == {"log_rmse": 0.2, "fold_log_rmse": 0.19, "duration_s": 1.5}
    folds = client.get_metric_history(runs[0], "fold_log_rmse")
    assert [(metric.step, metric.value) for metric in folds] == [(1, 0.21), (2, 0.19)]
    assert [client.get_run(runs[n]).info.status for n in runs] == ["FINISHED", "KILLED", "FAILED"]
    assert "log_rmse" not in client.get_run(runs[1]).data.metrics


def test_trials_that_are_there_are_not_repeated(tracking, client, flow_run):
    step = tracking.start_step(flow_run, "tune")
    first = tracking.log_trials(step, [trial(0), trial(1)], metric="log_rmse")
    again = tracking.log_trials(step, [trial(0), trial(1), trial(2)], metric="log_rmse")
    assert again == first | {2: again[2]}
    below = client.search_runs([tracking.experiment_id], f"tags.`mlflow.parentRunId` = '{step}'")
    assert len(below) == 3


def test_trials_are_batched_so_that_one_costs_milliseconds(tracking, flow_run):
    step = tracking.start_step(flow_run, "tune")
    began = time.process_time()
    tracking.log_trials(step, [trial(n) for n in range(20)], metric="log_rmse")
    # 20 single calls a trial cost 265 ms on the machine where a batch costs 22.
    assert (time.process_time() - began) / 20 < 0.13


def test_a_curve_is_kept_by_iteration(tracking, client, flow_run):
    values = [1 / n for n in range(1, 1001)]
    tracking.log_curve(flow_run, "valid_rmse", values)
    history = client.get_metric_history(flow_run, "valid_rmse")
    assert [metric.step for metric in history] == list(range(1, 1001))
    assert [metric.value for metric in history] == values


def test_the_dataset_is_the_snapshot_with_its_columns(tracking, client, flow_run, tmp_path):
    from hedonic.data.contract import Contract

    columns = [
        {"name": "price", "type": "number", "role": "target", "description": "x"},
        {"name": "grade", "type": "integer", "description": "x"},
    ]
    contract = Contract.model_validate(
        {
            "format_version": 1,
            "name": "village",
            "title": "A village",
            "source": {"uri": "village.csv"},
            "target": {"column": "price", "unit": "USD"},
            "columns": columns,
            "search": {"families": {"ridge": {}}},
            "split": {"method": "random"},
            "gate": {"limits": []},
        }
    )
    path = tmp_path / "snapshot.parquet"
    tracking.log_dataset(
        flow_run, digest="e" * 64, path=path, n_rows=9, source_uri="s3://bucket/x.csv", contract=contract
    )

    (logged,) = client.get_run(flow_run).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("village", "e" * 36)
    assert json.loads(logged.dataset.source)["uri"] == str(path)
    profile = json.loads(logged.dataset.profile)
    assert profile == {"num_rows": 9, "snapshot": "e" * 64, "source_uri": "s3://bucket/x.csv"}
    told = {spec["name"]: spec["type"] for spec in json.loads(logged.dataset.schema)["mlflow_colspec"]}
    assert told == {"price": "double", "grade": "long"}


def test_a_run_has_an_address_in_the_ui(settings, tracking, flow_run):
    expected = f"http://127.0.0.1:5000/#/experiments/{tracking.experiment_id}/runs/{flow_run}"
    assert tracking.url(flow_run) == expected


def test_tracking_leaves_mlflow_s_global_state_alone(tracking, monkeypatch, tmp_path):
    import mlflow

    monkeypatch.chdir(tmp_path)
    tracking.log_step(tracking.start_flow_run("train", {}), "ingest", params={"rows": 1})
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() != tracking.settings.tracking_uri
    assert not list(Path.cwd().iterdir())

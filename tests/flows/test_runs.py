"""Runs that people can read, resume and select, in a project with code of its own that may be edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.settings import get_current_settings

from flows.train import train
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError, SourceError, ValidationRefused
from hedonic.monitoring.alerts import AlertBook
from hedonic.settings import Settings
from hedonic.step_key import StepBook
from hedonic.tracking import Tracking
from tasks.caching import MissingOutput
from tasks.explanation import explain
from tasks.single import run_alone
from tests.flow_runs import artifacts, latest_run, log_lines, read_run, step_states
from tests.project import ROOT, copy_ours

pytestmark = pytest.mark.slow

DATASET = "small_county"
QUICK: dict[str, Any] = {"dataset": DATASET, "trials": 2, "families": ("ridge",)}
STEPS = ("validate", "tune", "train", "simplify", "evaluate")


@pytest.fixture(scope="module")
def town(project: Settings) -> Settings:
    """The module's project, its code a copy."""
    copy_ours(project.root, "src", "flows", "tasks")
    return project


@pytest.fixture(scope="module")
def first(town: Settings) -> Any:
    """The first run of the module, which promotes."""
    result = train(**QUICK, reason="data changed: for the first time")
    assert result.outcome == "promoted"
    return latest_run()


@pytest.fixture
def edited(town: Settings) -> Iterator[Any]:
    """A function that appends to a source of the project, until the test is over."""
    before: dict[Path, bytes] = {}

    def append(name: str, text: str) -> None:
        path = town.root / name
        before.setdefault(path, path.read_bytes())
        path.write_bytes(path.read_bytes() + text.encode())

    yield append
    for path, content in before.items():
        path.write_bytes(content)


def whys() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what is explained of each step: what will become of it, and why."""
    found = explain(DATASET, trials=2, families=("ridge",))
    return {step.step: (step.will, step.why) for step in found}


def command(town: Settings, tool: str, *arguments: str, **environment: str) -> str:
    """Return what a command prints that is run in the project's folder, by the project's code."""
    environment |= {
        "PREFECT_LOCAL_STORAGE_PATH": str(get_current_settings().results.local_storage_path),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PYTHONPATH": f"{town.root / 'src'}:{town.root}",
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / tool), *arguments],
        cwd=town.root, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- what people read


def test_a_run_s_name_says_data_set_reason_and_digest(first: Any, town: Settings) -> None:
    snapshot = StepBook(town).latest(DATASET, "ingest").output["digest"]  # type: ignore[union-attr]
    assert first.name == f"{DATASET}: data changed: for the first time ({snapshot[:12]})"


def test_runs_can_be_filtered_by_data_set_kind_of_reason_and_outcome(first: Any) -> None:
    assert set(first.tags) == {DATASET, "data-changed", "promoted"}


def test_every_step_leaves_its_artifact(first: Any) -> None:
    left = artifacts(first.id)
    kinds = {key.removesuffix("-small-county"): artifact["type"] for key, artifact in left.items()}
    assert kinds == {
        "snapshot": "markdown",
        "mlflow-run": "markdown",
        "validation": "table",
        "failing-rows": "table",
        "leaderboard": "table",
        "trials": "table",
        "study": "image",
        "tune-progress": "progress",
        "importances": "table",
        "simplify": "markdown",
        "evaluation": "markdown",
        "ratio-study": "table",
        "verdict": "markdown",
        "model-version": "markdown",
        "release": "markdown",
        "answer": "markdown",
        "outcome": "markdown",
    }
    assert left["tune-progress-small-county"]["data"] == 100
    assert "/get-artifact?path=history.png&run_uuid=" in left["study-small-county"]["data"]
    assert left["simplify-small-county"]["data"] == "ridge is judged: it is as simple as ridge"
    card = left["release-small-county"]["data"]
    for place in ("MLflow run", "Optuna study", "Data Docs", "endpoint", "Prefect run"):
        assert f"- [{place}](http" in card
    assert "bento | `" in card
    verdict = left["verdict-small-county"]["data"]
    assert verdict.startswith("**promoted: ")
    assert "| passed | `limit:mdape_pct` |" in verdict


def test_lines_of_optuna_mlflow_and_ours_are_in_prefect_s_log_view(first: Any) -> None:
    names = {line["name"].split(".")[0] for line in log_lines(first.id, "optuna", "mlflow", "hedonic")}
    assert {"optuna", "mlflow", "hedonic"} <= names


def test_a_promotion_is_told_as_news(first: Any, town: Settings) -> None:
    (news,) = [alert for alert in AlertBook(town).recent() if alert.kind == "champion-promoted"]
    assert news.link is not None
    assert str(first.id) in news.link
    assert AlertBook(town).open() == ()


# ---- what runs again


def test_an_edit_of_a_comment_runs_nothing_again(first: Any, edited: Any) -> None:
    for source in ("src/hedonic/model/features.py", "tasks/tune.py", "flows/train.py"):
        edited(source, "\n# an afterthought\n")
    assert {will for step, (will, _) in whys().items() if step != "decide"} == {"be kept"}
    assert train(**QUICK).outcome == "unchanged"
    states = step_states(latest_run().id, last="conclude")
    assert not set(states) & set(STEPS)
    assert {"unchanged", "promoted"} <= set(latest_run().tags)


def test_an_edit_of_the_features_runs_again_from_there(first: Any, edited: Any) -> None:
    edited("src/hedonic/model/features.py", "\nAFTERTHOUGHT = 1\n")
    told = whys()
    assert told["validate"][0] == "be kept"
    for step in ("run", "tune", "train", "simplify", "evaluate"):
        assert told[step] == ("run", ("code: src/hedonic/model/features.py changed",))
    assert train(**QUICK).outcome == "kept"
    states = step_states(latest_run().id, last="conclude")
    assert [states[step] for step in STEPS] == ["Cached", *["Completed"] * 4]


def test_what_changed_is_named_for_contract_parameters_data_and_lock(first: Any, town: Settings) -> None:
    found = {step.step: step.why for step in explain(DATASET, trials=3, families=("ridge",), seed=1)}
    assert found["tune"] == ("budget.trials: 2 -> 3", "seed: 0 -> 1")
    contract = town.expectations / f"{DATASET}.yaml"
    sound = contract.read_text()
    contract.write_text(sound.replace("quarantine_fraction: 0.002", "quarantine_fraction: 0.003"))
    lock = town.root / "requirements.txt"
    lock.unlink()
    pinned = (ROOT / "requirements.txt").read_text()
    lock.write_text(pinned.replace("numpy==", "numpy==9"))
    try:
        why = whys()["validate"][1]
    finally:
        contract.write_text(sound)
        lock.write_text(pinned)
    assert why[0] == "contract.quarantine_fraction: 0.002 -> 0.003"
    assert why[1].startswith("lock: numpy: ")


def test_only_the_steps_that_are_asked_for_run_and_the_run_ends_with_the_last(
    first: Any, town: Settings
) -> None:
    result = train(**QUICK, steps=("validate", "train"))
    assert result.outcome == "stopped"
    states = step_states(latest_run().id, last="stop")
    assert [states.get(step) for step in STEPS] == ["Completed", "Cached", "Completed", None, None]
    assert "stopped" in latest_run().tags


def test_a_step_that_is_not_asked_for_and_left_nothing_is_named(first: Any) -> None:
    with pytest.raises(MissingOutput, match="tune: what it returned for this contract, data and code is not"):
        train(**QUICK | {"seed": 5}, steps=("train",))
    with pytest.raises(HedonicError, match="from_step and steps were both given"):
        train(**QUICK, steps=("train",), from_step="tune")


def test_a_retry_goes_on_from_the_step_that_failed_and_settles_the_alert(
    first: Any, town: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = QUICK | {"seed": 7}
    with monkeypatch.context() as patch:
        patch.setattr("hedonic.promotion.evaluation.evaluate", _out_of_order)
        with pytest.raises(HedonicError, match="out of order"):
            train(**given)
    failed, book = latest_run(), AlertBook(town)
    (alert,) = book.open()
    assert (alert.key, alert.text) == (f"run-failed:{DATASET}", "the evaluation is out of order")
    assert alert.link is not None
    assert str(failed.id) in alert.link
    before = {step: StepBook(town).latest(DATASET, step) for step in STEPS}

    retry = ("prefect", "flow-run", "retry", str(failed.id), "--entrypoint", "flows/train.py:train")
    command(town, *retry, PREFECT_API_URL=str(get_current_settings().api.url))
    run = read_run(failed.id)
    assert (run.run_count, run.state_name) == (2, "Completed")
    after = {step: StepBook(town).latest(DATASET, step) for step in STEPS}
    assert {step for step in STEPS if before[step] != after[step]} == {"evaluate"}
    assert book.open() == ()


def _out_of_order(*_: Any, **__: Any) -> Any:
    raise HedonicError("the evaluation is out of order")


# ---- one step alone


def test_a_step_alone_gives_what_it_gave_in_its_run_and_leaves_that_run_as_it_was(
    first: Any, town: Settings
) -> None:
    tracking = Tracking(town, DATASET)
    (run_id,) = tracking.find_flow_runs(str(first.id))
    steps = sorted(run.info.run_id for run in tracking._find("mlflow.parentRunId", run_id))
    alone = run_alone("evaluate", DATASET, dump=True)
    assert alone.same
    folder = Path(alone.folder or "")
    assert json.loads((folder / "output.json").read_text()) == alone.output
    assert json.loads((folder / "inputs.json").read_text())["contract"]["name"] == DATASET
    assert {"evaluation.md", "ratio-study.json"} <= {path.name for path in (folder / "artifacts").iterdir()}
    assert "holdout rows" in (folder / "log.txt").read_text()
    assert sorted(run.info.run_id for run in tracking._find("mlflow.parentRunId", run_id)) == steps


def test_what_cannot_run_alone_is_named(first: Any) -> None:
    with pytest.raises(
        HedonicError, match="roll-out: no step that can run alone. There are ingest, validate"
    ):
        run_alone("roll-out", DATASET, dump=False)
    with pytest.raises(HedonicError, match="train: no inputs are recorded for elsewhere, as it never ran"):
        run_alone("train", "elsewhere", dump=False)


def test_both_commands_need_no_server(first: Any, town: Settings) -> None:
    nowhere = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    quick = ("--trials", "2", "--families", "ridge")
    told = json.loads(command(town, "hedonic", "explain-cache", DATASET, *quick, "--json", **nowhere))
    assert [step["will"] for step in told["steps"]] == [*["be kept"] * 6, "run"]
    alone = ("task", "validate", "--dataset", DATASET, "--debug", "--json")
    done = json.loads(command(town, "hedonic", *alone, **nowhere).splitlines()[-1])
    assert (Path(done["folder"]) / "artifacts" / "validation.json").is_file()


# ---- refusals


def test_rows_that_refuse_the_data_are_shown_and_the_alert_stays_until_the_data_are_sound(
    first: Any, town: Settings
) -> None:
    source = town.root / "data" / f"{DATASET}.parquet"
    sound, book = source.read_bytes(), AlertBook(town)
    sales = pd.read_parquet(source)
    sales.loc[:99, "price"] = -1
    sales.to_parquet(source, index=False)
    try:
        with pytest.raises(ValidationRefused, match="100 rows have price"):
            train(**QUICK)
        shown = artifacts(latest_run().id)
        source.unlink()
        with pytest.raises(SourceError, match="does not exist"):
            train(**QUICK)
    finally:
        source.write_bytes(sound)
    rows = json.loads(shown["failing-rows-small-county"]["data"])
    assert any("price = -1" in row["values"] for row in rows)
    (worst, *_) = json.loads(shown["validation-small-county"]["data"])
    assert worst["outcome"] == "refused"
    assert "100 changed" in shown["difference-small-county"]["description"]
    (alert,) = book.open()
    assert (alert.kind, alert.times) == ("data-refused", 2)
    assert train(**QUICK).outcome == "unchanged"
    assert book.open() == ()


def test_an_alert_that_cannot_be_written_fails_no_run(
    first: Any, town: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = town.home / "alerts.jsonl"
    kept = book.read_bytes()
    book.unlink()
    book.mkdir()
    try:
        assert train(**QUICK).outcome == "unchanged"
    finally:
        book.rmdir()
        book.write_bytes(kept)


def test_the_contract_survives_being_recorded(town: Settings) -> None:
    contract = load_contract(town.expectations / f"{DATASET}.yaml")
    again = type(contract).model_validate_json(contract.model_dump_json())
    assert again.digest == contract.digest

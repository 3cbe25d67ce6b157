"""The registered model in a real MLflow store: no pickle, the endpoint's numbers, aliases that follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from hedonic.data.contract import Contract
from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame, columns_from_records, days
from hedonic.model.artifact import Estimates, PortableModel
from hedonic.model.training import Recipe, fit_candidate, fold_rows, make_fold
from hedonic.promotion.evaluation import evaluate
from hedonic.promotion.model_card import describe
from hedonic.promotion.registry.aliases import project_champion
from hedonic.promotion.registry.model_version import link_release, register_version
from hedonic.promotion.registry.store import open_client
from hedonic.promotion.registry.version_facts import version_facts
from hedonic.promotion.served_frame import OUTPUTS
from hedonic.settings import Settings

# A real store of the vendor's: make test, not make check.
pytestmark = pytest.mark.slow

NAME = "hedonic-village"
FIGURES = {"log_rmse": 0.17, "mdape_pct": 8.4}
PICKLES = {".pkl", ".pickle", ".cloudpickle", ".joblib", ".skops"}


@pytest.fixture(scope="module")
def contract() -> Contract:
    told = {"description": "x"}
    return Contract.model_validate(
        {
            "format_version": 1,
            "name": "village",
            "title": "A village",
            "source": {"uri": "village.csv"},
            "target": {"column": "price", "unit": "USD"},
            "columns": [
                {"name": "price", "type": "number", "role": "target", "unit": "USD", **told},
                {"name": "sold", "type": "date", "role": "time", **told},
                {"name": "area", "type": "number", **told},
                {"name": "rooms", "type": "integer", **told},
                {"name": "yr_built", "type": "integer", "nullable": True, **told},
                {"name": "waterfront", "type": "boolean", **told},
                {"name": "district", "type": "category", **told},
            ],
            "features": {"ages": [{"name": "age", "year": "yr_built"}]},
            "slices": [{"name": "district", "column": "district"}],
            "search": {"folds": 2, "families": {"ridge": {}}},
            "split": {"method": "time"},
            "gate": {"limits": [{"metric": "mdape_pct", "maximum": 10}]},
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    n = 400
    area, rooms = random.uniform(50, 250, n), random.integers(1, 7, n)
    built = np.where(random.random(n) < 0.1, np.nan, random.integers(1920, 2010, n))
    return pd.DataFrame(
        {
            "price": 2000 * area * np.exp(random.normal(0, 0.1, n)) + 10_000 * rooms,
            "sold": pd.Timestamp("2014-06-01") + pd.to_timedelta(np.arange(n) // 2, unit="D"),
            "area": area,
            "rooms": rooms,
            "yr_built": built,
            "waterfront": random.random(n) < 0.2,
            "district": random.choice(["north", "south"], n),
        }
    )


@pytest.fixture(scope="module")
def folders(contract, frame, tmp_path_factory) -> list[Path]:
    """Two real models that differ in the width of their intervals alone."""
    columns, split = columns_from_frame(contract, frame), split_rows(contract, frame)
    train = {name: values[split.train] for name, values in columns.items()}
    rows = fold_rows(contract, train, 0)
    folds = [make_fold(contract, train, *parts, n_clusters=None, seed=0) for parts in rows]
    recipe = Recipe(family="ridge", parameters={"alpha": 1.0}, n_clusters=None, seed=0)
    model = fit_candidate(contract, columns, split, recipe, folds).model
    wider = replace(model, conformal=replace(model.conformal, q_90=model.conformal.q_90 * 1.1))
    root = tmp_path_factory.mktemp("models")
    model.save(root / "model")
    wider.save(root / "wider")
    return [root / "model", root / "wider"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Settings:
    """One SQLite store for the module: MLflow's first migration costs seconds."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, root=home)
    client = open_client(settings)
    client.create_experiment(NAME, artifact_location=(home / "mlflow" / "artifacts").as_uri())
    return settings


@pytest.fixture
def run_id(store) -> str:
    client = open_client(store)
    experiment = client.get_experiment_by_name(NAME)
    return client.create_run(experiment.experiment_id).info.run_id


@pytest.fixture
def clean(store):
    """Give a store without a registered model, as on the first day."""
    client = open_client(store)
    if client.search_registered_models(f"name = '{NAME}'"):
        client.delete_registered_model(NAME)
    return store


@pytest.fixture
def register(clean, folders, frame, run_id):
    def make(n: int = 0, decision="challenger", release: str | None = None, run: str = run_id) -> int:
        version = register_version(
            clean,
            folders[n],
            run_id=run,
            decision=decision,
            example=frame,
            description="# A version",
            figures=FIGURES,
            tags={"optuna.study": "village-2026", "prefect.flow_run_id": "f-1"},
        )
        if release:
            link_release(clean, "village", version, release)
        return version

    return make


@pytest.fixture
def as_users_see_it(store, monkeypatch):
    """Set what ``eval "$(hedonic env)"`` sets."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", store.tracking_uri)


def aliases(settings: Settings) -> dict[str, int]:
    found = open_client(settings).get_registered_model(NAME).aliases
    return {alias: int(version) for alias, version in found.items()}


def test_the_champion_loaded_by_alias_answers_as_the_portable_model(
    clean, register, folders, frame, contract, as_users_see_it
):
    import mlflow.pyfunc

    register(0, release="a" * 64)
    project_champion(clean, "village", "a" * 64)
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    rows = frame.head(50)

    answer = loaded.predict(rows)

    names = [column.name for column in contract.inputs]
    records = [
        {k: None if v != v else v for k, v in row.items()} for row in rows[names].to_dict(orient="records")
    ]
    served = PortableModel.load(folders[0]).estimate(columns_from_records(contract, records))
    assert list(answer.columns) == list(OUTPUTS)
    np.testing.assert_allclose(answer["estimate"], served.estimate, rtol=0, atol=1e-9)
    for level, bounds in ((80, served.interval_80), (90, served.interval_90)):
        mine = answer[[f"interval_{level}_low", f"interval_{level}_high"]]
        np.testing.assert_allclose(mine, bounds, rtol=0, atol=1e-9)


@pytest.mark.parametrize("date", ["2010-01-01", pd.Timestamp("2010-01-01")])
def test_a_valuation_date_is_optional_and_may_be_text_or_a_date(
    clean, register, folders, frame, contract, as_users_see_it, date
):
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}/{register(0)}")
    rows = frame.drop(columns=["sold", "price"]).head(3)

    dated = loaded.predict(rows.assign(valuation_date=date))

    columns = columns_from_frame(contract, rows)
    then = columns | {"sold": np.full(3, days(pd.Timestamp("2010-01-01").date()))}
    model = PortableModel.load(folders[0])
    np.testing.assert_allclose(dated["estimate"], model.estimate(then).estimate, atol=1e-9)
    np.testing.assert_allclose(loaded.predict(rows)["estimate"], model.estimate(columns).estimate, atol=1e-9)


def test_the_kept_model_holds_no_pickle_but_signature_example_and_pinned_requirements(
    store, register, as_users_see_it
):
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    folder = Path(download_artifacts(f"models:/{NAME}/{register(0)}"))

    assert not [path for path in folder.rglob("*") if path.suffix in PICKLES]
    kept = Model.load(str(folder))
    inputs = {spec.name: (spec.type, spec.required) for spec in kept.signature.inputs}
    assert {name: str(kind) for name, (kind, _) in inputs.items()} == {
        "area": "DataType.double",
        "rooms": "DataType.long",
        "yr_built": "DataType.double",
        "waterfront": "DataType.boolean",
        "district": "DataType.string",
        "valuation_date": "Any",
    }
    assert [name for name, (_, required) in inputs.items() if not required] == ["yr_built", "valuation_date"]
    assert kept.signature.outputs.input_names() == list(OUTPUTS)
    assert len(kept.load_input_example(str(folder))) == 5
    requirements = (folder / "requirements.txt").read_text().split()
    assert requirements
    assert all("==" in line for line in requirements)


def test_a_version_carries_its_status_links_figures_and_description(store, register, run_id):
    version = register(0, decision="rejected")
    client = open_client(store)
    found = client.get_model_version(NAME, str(version))
    assert found.tags["hedonic.status"] == "rejected"
    assert found.tags["optuna.study"] == "village-2026"
    assert (found.run_id, found.description) == (run_id, "# A version")
    assert client.get_run(run_id).data.metrics == FIGURES
    (output,) = client.get_run(run_id).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.status, logged.model_type) == ("READY", "ridge")
    assert {metric.key: metric.value for metric in logged.metrics} == FIGURES
    assert logged.tags["mlflow.modelVersions"] == '[{"name": "hedonic-village", "version": 1}]'


def test_registering_the_same_model_of_the_same_run_again_makes_no_second_version(store, register):
    first = register(0, decision="rejected")
    assert register(0, decision="challenger") == first
    found = open_client(store).get_model_version(NAME, str(first))
    assert found.tags["hedonic.status"] == "challenger"
    assert register(1) == first + 1


def test_the_aliases_follow_a_promotion_and_a_roll_back(store, register):
    register(0, release="a" * 64)
    assert project_champion(store, "village", "a" * 64) == 1
    assert aliases(store) == {"champion": 1}

    register(1, release="b" * 64)
    assert project_champion(store, "village", "a" * 64) == 1
    assert aliases(store) == {"champion": 1, "challenger": 2}

    assert project_champion(store, "village", "b" * 64) == 2
    assert aliases(store) == {"champion": 2}

    assert project_champion(store, "village", "a" * 64) == 1
    assert aliases(store) == {"champion": 1, "challenger": 2}


def test_a_rejected_candidate_is_never_an_alias(store, register):
    register(0, release="a" * 64)
    register(1, decision="rejected")
    project_champion(store, "village", "a" * 64)
    assert aliases(store) == {"champion": 1}


def test_aliases_set_by_hand_are_repaired_and_what_holds_is_written_once(store, register, monkeypatch):
    register(0, release="a" * 64)
    register(1, decision="rejected")
    client = open_client(store)
    client.set_registered_model_alias(NAME, "champion", "2")
    client.set_registered_model_alias(NAME, "challenger", "2")

    assert project_champion(store, "village", "a" * 64) == 1
    assert aliases(store) == {"champion": 1}

    def refuse(*_args, **_kwargs):
        raise AssertionError("an alias was written that held already")

    monkeypatch.setattr("mlflow.MlflowClient.set_registered_model_alias", refuse)
    monkeypatch.setattr("mlflow.MlflowClient.delete_registered_model_alias", refuse)
    assert project_champion(store, "village", "a" * 64) == 1


def test_without_a_champion_in_the_history_no_version_stays_champion(store, register):
    register(0, release="a" * 64)
    project_champion(store, "village", "a" * 64)
    assert project_champion(store, "village", None) is None
    assert "champion" not in aliases(store)


def test_a_release_that_this_store_never_saw_gives_no_champion(store, register):
    register(0, release="a" * 64)
    project_champion(store, "village", "a" * 64)
    assert project_champion(store, "village", "f" * 64) is None
    assert "champion" not in aliases(store)


def test_projecting_a_data_set_that_was_never_registered_does_nothing(clean):
    assert project_champion(clean, "village", "a" * 64) is None


def test_an_alias_written_by_another_process_at_once_is_written_again(store, register, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    register(0, release="a" * 64)
    real, failed = MlflowClient.set_registered_model_alias, []

    def collide_once(self, name, alias, version):
        if not failed:
            failed.append(alias)
            raise MlflowException("UNIQUE constraint failed")
        real(self, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", collide_once)
    assert project_champion(store, "village", "a" * 64) == 1
    assert failed == ["champion"]
    assert aliases(store) == {"champion": 1}


def test_registering_leaves_mlflow_s_global_state_alone(register):
    import mlflow

    before = mlflow.get_tracking_uri()
    register(0)
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_the_description_tells_verdict_figures_baselines_study_and_links(contract, frame):
    actual = frame["price"].to_numpy()
    point = actual * 1.02
    estimates = Estimates(
        point, np.column_stack([point * 0.9, point * 1.1]), np.column_stack([point * 0.8, point * 1.2])
    )
    columns = columns_from_frame(contract, frame)
    evaluation = evaluate(
        contract, columns, actual, estimates, {"median": np.full(400, actual.mean())}, candidate_digest="c"
    )
    text = describe(
        evaluation,
        verdict="promoted",
        reasons=["better by 0.01"],
        family="boosting",
        study="village-2026-11-20",
        trial=7,
        links={"MLflow run": "http://127.0.0.1:5000/#/experiments/1/runs/r", "Prefect run": "f-1"},
    )
    assert text.startswith("**promoted**: a boosting model of `village`, judged on 400 holdout rows, in USD.")
    assert "- better by 0.01\n" in text
    assert "| `mdape_pct` | 2 |" in text
    assert f"| `mae` | {0.02 * actual.mean():,.0f} |" in text
    assert "| **this model** | 0.0198 | 2.00 |" in text
    assert "| median |" in text
    assert "- passed: `median_ratio` 1.020 is within 0.9 to 1.1" in text
    assert "Study `village-2026-11-20`, trial 7." in text
    assert "- [MLflow run](http://127.0.0.1:5000/#/experiments/1/runs/r)" in text
    assert "- Prefect run: `f-1`" in text


def test_the_facts_of_a_version_are_what_mlflow_and_its_files_say(register, clean, run_id):
    version = str(register(0, release="a" * 64))
    facts = version_facts(clean, "village", version)
    assert (facts.run_id, facts.known, facts.release) == (run_id, True, "a" * 64)
    assert facts.model == facts.recorded_model
    source = open_client(clean).get_model_version(NAME, version).source
    (trees,) = Path(urlsplit(source).path).rglob("width/trees.txt")
    trees.write_text(trees.read_text() + "\n")
    changed = version_facts(clean, "village", version)
    assert changed.model not in (None, changed.recorded_model)
    open_client(clean).delete_run(run_id)
    assert not version_facts(clean, "village", version).known


def test_a_version_that_mlflow_does_not_have_has_no_facts_and_no_store_is_made(clean, tmp_path):
    assert version_facts(clean, "village", "77") is None
    assert version_facts(Settings(home=tmp_path, root=tmp_path), "village", "1") is None
    assert list(tmp_path.iterdir()) == []

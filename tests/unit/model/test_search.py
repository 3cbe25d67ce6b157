"""The search: its outcome follows from the seed, and its storage is Optuna's own."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from hedonic.data.contract import Contract, Search
from hedonic.errors import UserError
from hedonic.model.budget import Budget
from hedonic.model.recipe import Recipe
from hedonic.model.search import BATCH, Fold, free_name, make_pruner, open_storage, score_fold, tune
from hedonic.model.study import Study, Trial, Tuning
from tests.contracts import TREES, car_contract

FAMILIES: dict[str, Any] = {
    "median": {},
    "ridge": {"alpha": {"low": 0.001, "high": 1000, "log": True}},
    "network": {"hidden_units": {"choices": [4, 8]}, "max_iter": 2, "alpha": {"low": 0.0, "high": 1.0}},
    "boosting": {
        **TREES,
        "n_estimators": 5,
        "learning_rate": {"low": 0.02, "high": 0.5, "log": True},
        "min_child_samples": {"low": 2, "high": 40, "log": True, "integer": True},
    },
}


def contract_of(**search: Any) -> Contract:
    return car_contract(search={"folds": 4, "families": FAMILIES, **search})


def folds(n_folds: int = 4, n: int = 120) -> list[Fold]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n_folds):
        matrix = rng.normal(size=(2 * n, 4))
        matrix[rng.random(matrix.shape) < 0.05] = np.nan
        target = 10 + np.nan_to_num(matrix[:, 0]) ** 2 * 0.3 + 0.2 * np.nan_to_num(matrix[:, 1])
        target += rng.normal(0, 0.05, 2 * n)
        made.append(Fold(matrix[:n], target[:n], matrix[n:], target[n:], ()))
    return made


FOLDS = folds()


def study_of(
    contract: Contract, trials: int = 12, seed: int = 1, time_s: float | None = None, **options: Any
) -> Study:
    return tune(contract, FOLDS, budget=Budget(trials=trials, time_s=time_s), seed=seed, **options)


def outcome(study: Study) -> list[Any]:
    return [(t.number, t.family, t.parameters, t.state, t.losses) for t in (*study.trials, *study.baselines)]


# ---- the outcome follows from the seed


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    contract = contract_of()
    first = outcome(study_of(contract))
    assert outcome(study_of(contract)) == first
    assert outcome(study_of(contract, seed=2)) != first


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_the_number_of_workers_does_not_show(pruner: str) -> None:
    contract = contract_of(pruner=pruner)
    alone = outcome(study_of(contract))
    assert outcome(study_of(contract, workers=2)) == alone
    assert outcome(study_of(contract, workers=3)) == alone


@pytest.mark.parametrize("pruner", ["none", "median", "successive_halving", "hyperband", "wilcoxon"])
def test_neither_the_study_s_name_nor_its_storage_shows(pruner: str, tmp_path: Path) -> None:
    contract = contract_of(pruner=pruner)
    storage = open_storage(tmp_path / "studies.journal")
    first = outcome(study_of(contract, name="cars-2026-11-20"))
    assert outcome(study_of(contract, name="cars-2026-11-21", storage=storage)) == first


def test_links_do_not_show_in_the_outcome() -> None:
    contract = contract_of()
    assert outcome(study_of(contract, attributes={"mlflow_run": "r1"})) == outcome(study_of(contract))


# ---- batches


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 5, 6, 7, 11])
def test_as_many_trials_are_made_as_the_budget_says_in_number_order(trials: int) -> None:
    heard: list[Trial] = []
    study = study_of(contract_of(), trials=trials, on_trial=heard.append)
    assert [trial.number for trial in study.trials] == list(range(trials))
    assert study.n_trials == trials
    assert tuple(heard) == study.trials
    assert not study.cut_by_time


def test_every_family_is_tried_first_with_the_middle_of_its_space() -> None:
    study = study_of(contract_of(), trials=4)
    first = {trial.family: trial.parameters for trial in study.trials[:3]}
    assert first == {
        "ridge": {"alpha": pytest.approx(1.0)},
        "network": {"hidden_units": 4, "max_iter": 2, "alpha": 0.5},
        "boosting": {**TREES, "n_estimators": 5, "learning_rate": pytest.approx(0.1), "min_child_samples": 9},
    }


def test_trials_of_a_batch_do_not_see_each_other() -> None:
    contract = contract_of(pruner="median")
    asked: list[int] = []
    study = study_of(contract, trials=12, on_trial=lambda trial: asked.append(trial.number))
    assert asked == list(range(12))
    assert all(trial.state == "COMPLETE" for trial in study.trials[:BATCH])


def test_a_time_budget_ends_the_search_between_batches_and_is_recorded() -> None:
    cut = study_of(contract_of(), trials=12, time_s=0.0)
    assert cut.cut_by_time
    assert cut.n_trials == len(cut.trials) == BATCH
    assert outcome(cut)[:BATCH] == outcome(study_of(contract_of()))[:BATCH]
    assert not study_of(contract_of(), trials=5, time_s=3600).cut_by_time


# ---- spaces and families


def test_parameters_stay_in_their_space_and_fixed_ones_fixed() -> None:
    for trial in study_of(contract_of(), trials=20).trials:
        match trial.family:
            case "ridge":
                assert 0.001 <= trial.parameters["alpha"] <= 1000
            case "network":
                assert trial.parameters["hidden_units"] in (4, 8)
                assert trial.parameters["max_iter"] == 2
            case "boosting":
                assert isinstance(trial.parameters["min_child_samples"], int)
                assert trial.parameters["num_leaves"] == 7


def test_the_budget_narrows_the_families_but_not_the_baselines() -> None:
    budget = Budget(trials=5, families=("boosting",))
    study = tune(contract_of(), FOLDS, budget=budget, seed=1)
    assert {trial.family for trial in study.trials} == {"boosting"}
    assert [trial.family for trial in study.baselines] == ["median", "ridge"]


@pytest.mark.parametrize("families", [("forest",), ()])
def test_a_family_without_a_space_is_the_user_s_error(families: Any) -> None:
    with pytest.raises(
        UserError, match=r"cars: search.families has no (forest|family to search)\. Choose from"
    ):
        tune(contract_of(), FOLDS, budget=Budget(trials=1, families=families), seed=1)


def test_the_baselines_are_beside_the_trials_and_may_be_the_best() -> None:
    study = study_of(contract_of(families={"median": {}}), trials=2)
    assert [trial.family for trial in study.trials] == ["median", "median"]
    assert [trial.number for trial in study.baselines] == [-1, -1]
    assert study.best.family == "ridge"
    assert [trial.family for trial in study.leaderboard] == ["ridge", "median"]


def test_changing_the_objective_changes_the_ranking() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 2))
    target = np.where(rng.random(400) < 0.3, 2.0, 0.0)  # seven of ten are alike, three are far away
    odd = [Fold(matrix[:200], target[:200], matrix[200:], target[200:], ())] * 2
    families = {"families": {"ridge": {}}}
    ranked = {
        metric: [
            t.family
            for t in tune(
                contract_of(metric=metric, **families), odd, budget=Budget(trials=1), seed=1
            ).leaderboard
        ]
        for metric in ("log_rmse", "mdape_pct")
    }
    assert ranked == {"log_rmse": ["ridge", "median"], "mdape_pct": ["median", "ridge"]}


def test_the_loss_is_in_the_target_s_unit_on_the_target_s_scale() -> None:
    fold = Fold(np.zeros((3, 1)), np.log([100.0, 100.0, 100.0]), np.zeros((2, 1)), np.log([110.0, 80.0]), ())
    assert score_fold(fold, "median", {}, "mae", True, 0)[0] == pytest.approx(15.0)
    fold = Fold(np.zeros((3, 1)), np.full(3, 100.0), np.zeros((2, 1)), np.array([110.0, 80.0]), ())
    loss, seconds = score_fold(fold, "median", {}, "mae", False, 0)
    assert loss == pytest.approx(15.0)
    assert seconds >= 0


# ---- pruning


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("successive_halving", optuna.pruners.SuccessiveHalvingPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
        ("wilcoxon", optuna.pruners.WilcoxonPruner),
    ],
)
@pytest.mark.filterwarnings("ignore:WilcoxonPruner is experimental")
def test_a_pruner_goes_by_its_name(name: Any, kind: type) -> None:
    assert type(make_pruner(Search(pruner=name, families={"ridge": {}}))) is kind


def test_a_pruned_trial_keeps_its_losses_and_is_never_best() -> None:
    study = study_of(contract_of(pruner="median"), trials=20)
    pruned = [trial for trial in study.trials if trial.state == "PRUNED"]
    assert pruned
    assert all(1 <= len(trial.losses) < len(FOLDS) for trial in pruned)
    assert all(trial.loss == math.inf for trial in pruned)
    assert study.best.state == "COMPLETE"
    assert study.best.loss == min(trial.loss for trial in (*study.trials, *study.baselines))
    assert {t.state for t in study_of(contract_of(pruner="none"), trials=20).trials} == {"COMPLETE"}


def test_a_trial_that_has_finished_its_folds_is_not_pruned_any_more() -> None:
    for pruner in ("median", "successive_halving", "hyperband"):
        for trial in study_of(contract_of(pruner=pruner), trials=20).trials:
            assert (trial.state == "COMPLETE") == (len(trial.losses) == len(FOLDS))


# ---- the storage


def test_the_journal_is_read_by_optuna(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "deep" / "studies.journal")
    links = {"mlflow_run": "r1", "prefect_flow_run": "f1"}
    study = study_of(contract_of(), trials=9, name="cars-1", storage=storage, attributes=links)
    read = optuna.load_study(study_name="cars-1", storage=open_storage(tmp_path / "deep" / "studies.journal"))
    assert read.metric_names == ["log_rmse"]
    assert read.user_attrs == links
    assert len(read.trials) == 9
    for frozen, trial in zip(read.trials, study.trials, strict=True):
        assert frozen.state.name == trial.state
        assert frozen.params["family"] == trial.family
        assert frozen.user_attrs["mlflow_run"] == "r1"
        assert frozen.user_attrs["parameters"] == trial.parameters
        assert len(frozen.intermediate_values) == len(trial.losses)
        assert frozen.duration is not None
        assert frozen.value == (trial.loss if trial.state == "COMPLETE" else frozen.value)
    assert read.best_value == min(trial.loss for trial in study.trials)


def test_one_journal_holds_all_studies_and_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "studies.journal")
    names = []
    for _ in range(3):
        names.append(free_name(storage, "cars"))
        study_of(contract_of(), trials=1, name=names[-1], storage=storage)
    assert names == ["cars", "cars-2", "cars-3"]
    assert set(optuna.get_all_study_names(storage)) == set(names)


def test_a_study_is_quiet(recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]) -> None:
    gc.collect()  # what earlier tests left open is told now
    recwarn.clear()
    capfd.readouterr()
    study_of(contract_of(), trials=8)
    assert [str(warning.message) for warning in recwarn] == []
    assert capfd.readouterr() == ("", "")


# ---- the study as a value


def trial(number: int, family: Any, *losses: float, state: str = "COMPLETE") -> Trial:
    return Trial(
        number=number, family=family, parameters={"n": number}, state=state, losses=losses, seconds=0.1
    )


def test_the_best_is_the_earliest_of_equals_and_the_leaderboard_has_each_family_once() -> None:
    study = Study(
        name="s",
        metric="rmse",
        n_trials=4,
        cut_by_time=False,
        trials=(
            trial(0, "boosting", 2.0, 4.0),
            trial(1, "boosting", 1.0, 3.0),
            trial(2, "forest", 2.0, 2.0),
            trial(3, "network", 0.1, state="PRUNED"),
        ),
        baselines=(trial(-1, "median", 9.0, 9.0), trial(-1, "ridge", 2.0, 2.0)),
    )
    assert study.best.number == 1
    assert [t.family for t in study.leaderboard] == ["boosting", "forest", "ridge", "median", "network"]
    recipe = Recipe(family="boosting", parameters={}, n_clusters=None, seed=1)
    tuning = Tuning(study=study, recipe=recipe, clusters=None, split_digest="d")
    assert tuning.ridge_parameters == {"n": -1}
    assert Tuning.model_validate_json(tuning.model_dump_json()) == tuning

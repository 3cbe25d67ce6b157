"""What shapes a step's output is in its key, and nothing besides."""

from __future__ import annotations

from typing import Any

from hedonic.data.contract_file import load_contract
from hedonic.model.recipe import Recipe
from hedonic.model.study import Study, Trial, Tuning
from tasks.caching import step_key
from tests.project import ROOT

CONTRACT = load_contract(ROOT / "expectations" / "california.yaml")


def tuning(alpha: float, *, pruned: int = 0) -> Tuning:
    best = Trial(number=0, family="boosting", parameters={}, state="COMPLETE", losses=(0.1,), seconds=1.0)
    more = tuple(best.model_copy(update={"number": n + 1, "state": "PRUNED"}) for n in range(pruned))
    ridge = best.model_copy(update={"family": "ridge", "parameters": {"alpha": alpha}, "losses": (0.2,)})
    study = Study(
        name="s", metric="log_rmse", n_trials=1 + pruned, cut_by_time=False, trials=(best, *more),
        baselines=(ridge,),
    )  # fmt: skip
    recipe = Recipe(family="boosting", parameters={}, n_clusters=None, seed=0)
    return Tuning(study=study, recipe=recipe, clusters=None, split_digest="d" * 64)


def digest(tuning: Any) -> str:
    given = {"contract": CONTRACT, "validated": {}, "candidate": {"digest": "c"}, "tuning": tuning}
    return step_key("evaluate", given).digest


def test_of_a_study_only_ridge_s_parameters_are_in_the_key_of_an_evaluation() -> None:
    before = digest(tuning(1.0))
    assert digest(tuning(2.0)) != before
    assert digest(tuning(1.0, pruned=2)) == before
    assert digest(tuning(1.0).model_dump(mode="json")) == before, "as values or as JSON"

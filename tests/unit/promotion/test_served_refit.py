"""The refit that is served is asked what the gate asks of a model by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame, take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds
from hedonic.promotion.served_refit import RefitDisagrees, require_fit_to_serve
from hedonic.promotion.verdict import Verdict
from tests.contracts import house_contract, house_frame

FEATURES: dict[str, Any] = {"columns": ["area", "rooms", "built", "quarter"]}


def data_of(**gate: Any) -> TrainingData:
    contract = house_contract(features=FEATURES, gate={"limits": [], "max_latency_ms": 1000, **gate})
    frame = house_frame()[[column.name for column in contract.columns]]
    return TrainingData(contract, frame, columns_from_frame(contract, frame), split_rows(contract, frame))


@pytest.fixture(scope="module")
def judged() -> PortableModel:
    data = data_of()
    recipe = Recipe(family="ridge", parameters={}, n_clusters=None, seed=0)
    folds = make_folds(data, n_clusters=None, seed=0, workers=1)
    return fit_candidate(data.contract, data.columns, data.split, recipe, folds).model


def refused(data: TrainingData, served: PortableModel, judged: PortableModel) -> list[str]:
    """Return the checks that refuse the refit."""
    try:
        require_fit_to_serve(data, served, judged)
    except RefitDisagrees as err:
        return [finding.check for finding in err.findings]
    return []


@pytest.mark.parametrize(("shift", "checks"), [(0.04, []), (0.06, ["refit-agrees"])])
def test_a_refit_is_refused_beyond_the_band_alone(
    shift: float, checks: list[str], judged: PortableModel
) -> None:
    assert refused(data_of(), replace(judged, level=judged.level + shift), judged) == checks


def test_a_refit_that_prices_a_golden_row_out_of_its_bounds_is_refused_though_it_agrees(
    judged: PortableModel,
) -> None:
    plain = data_of()
    row = take(plain.columns, plain.split.holdout[:1])
    worth = float(judged.estimate(row).estimate[0])
    instance = {
        "area": float(row["area"][0]), "lot": float(row["lot"][0]), "rooms": int(row["rooms"][0]),
        "built": int(row["built"][0]), "renovated": int(row["renovated"][0]), "lake": bool(row["lake"][0]),
        "quarter": row["quarter"][0],
    }  # fmt: skip
    golden = {"name": "known", "row": instance, "minimum": worth * 0.98, "maximum": worth * 1.02}
    data = data_of(golden=[golden])
    assert refused(data, judged, judged) == []
    dearer = replace(judged, level=judged.level + 0.04)
    assert refused(data, dearer, judged) == ["refit-golden:known"]


@pytest.mark.parametrize(("effect", "checks"), [("not_lower", []), ("not_higher", ["refit-direction:area"])])
def test_a_refit_that_breaks_a_direction_is_refused(
    effect: str, checks: list[str], judged: PortableModel
) -> None:
    direction = {"name": "area", "changes": {"area": {"factor": 1.1}}, "effect": effect}
    assert refused(data_of(directions=[direction]), judged, judged) == checks


@pytest.mark.parametrize(
    ("budget", "checks"),
    [
        ({"max_latency_ms": 1e-6}, ["refit-latency"]),
        ({"max_size_mb": 1e-6}, ["refit-size"]),
        ({"max_size_mb": 100}, []),
    ],
)
def test_a_refit_over_a_budget_is_refused(
    budget: dict[str, float], checks: list[str], judged: PortableModel
) -> None:
    assert refused(data_of(**budget), judged, judged) == checks


def test_every_reason_is_told_and_a_promoting_verdict_becomes_a_refusing_one(judged: PortableModel) -> None:
    data = data_of(max_latency_ms=1e-6)
    with pytest.raises(RefitDisagrees, match="the refitted model: .* over the budget") as refusal:
        require_fit_to_serve(data, replace(judged, level=judged.level + 1), judged)
    verdict = Verdict(promoted=True, kind="promoted", reasons=()).joined_by(*refusal.value.findings)
    assert (verdict.promoted, verdict.kind) == (False, "refused")
    assert [issue.check for issue in verdict.issues] == ["refit-agrees", "refit-latency"]

"""The gate on real models: seeds of one recipe are not promoted over each other, a true improvement is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gate import STATED_GAIN, Split, fit_split, rates
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from tests.project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> list[Split]:
    """Three models of each of two splits of King County, with trees enough to be told apart."""
    contract, store = (
        load_contract(ROOT / "expectations" / "king_county.yaml"),
        SnapshotStore(tmp_path_factory.mktemp("s")),
    )
    frame = store.frame(store.ingest(contract, ROOT))
    families = {"boosting": {**contract.search.families["boosting"], "n_estimators": 120}}
    quick = contract.model_copy(
        update={
            "search": contract.search.model_copy(update={"families": families}),
            "features": contract.features.model_copy(update={"comparables": None}),
        }
    )
    return [fit_split(quick, frame, number, seeds=3) for number in range(2)]


def test_models_that_differ_by_their_seed_are_promoted_at_most_at_the_stated_rate(
    splits: list[Split],
) -> None:
    found = rates("King County", load_contract(ROOT / "expectations" / "king_county.yaml").gate, splits)
    assert (found.n_models, found.n_aa) == (6, 12)
    assert found.stated_aa == pytest.approx(0.0025)
    assert found.aa <= found.stated_aa
    assert found.true_gain >= STATED_GAIN
    assert found.power >= 0.9


def test_the_rates_tell_better_from_equal() -> None:
    """On drawn losses whose truth is known: a gate that always or never promotes would be told."""
    from hedonic.data.gate_policy import GatePolicy

    rng = np.random.default_rng(0)
    sales = rng.exponential(0.1, 2000)
    full = np.array([sales + rng.normal(0, 0.02, 2000) for _ in range(6)])
    drawn = Split({400: full, 100: full + 0.004}, {})
    found = rates("drawn", GatePolicy(limits=(), resamples=200), [drawn])
    assert (found.n_trees, found.true_gain) == (100, pytest.approx(0.004))
    assert (found.aa, found.power) == (0.0, 1.0)
    lenient = GatePolicy(limits=(), resamples=200, test="non_inferiority", margin=0.1)
    assert rates("drawn", lenient, [drawn]).aa == 1.0
    strict = GatePolicy(limits=(), resamples=200, margin=0.1)
    assert rates("drawn", strict, [drawn]).power == 0.0

"""Every outcome of the gate, by the real flow under CI: verdict, reason, record, and who serves after it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import yaml

from flows.train import train
from hedonic.model.artifact import PortableModel
from hedonic.promotion.history import History
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.registry.model_version import TAG_STATUS
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.settings import Settings
from tests.ports import free_port
from tests.project import write_contract

pytestmark = pytest.mark.slow

TOWN, SOURCE = "town", {"uri": "data/small_county.parquet"}
COLUMNS = ["sqft_living", "grade", "yr_built", "floors", "view", "lat", "long"]
SEARCH = {
    "trials": 1,
    "families": {
        "ridge": {},
        "boosting": {"n_estimators": 60, "num_leaves": 15, "learning_rate": 0.1},
    },
}
FEATURES: dict[str, Any] = {
    "columns": COLUMNS, "ages": [], "logs": ["sqft_living"], "ratios": [], "place": None, "comparables": None,
}  # fmt: skip
GATE: dict[str, Any] = {
    "limits": [
        {"metric": "mdape_pct", "maximum": 60},
        {"metric": "coverage_90_pct", "minimum": 80, "maximum": 99},
    ],
    "slices": {"minimum_rows": 30},
    "resamples": 500,
}
SOUTH, SOUTH_OF = {"name": "south", "column": "lat", "edges": [47.35]}, 47.35


@pytest.fixture(scope="module", autouse=True)
def under_ci() -> Iterator[None]:
    """Some gates elsewhere pass whenever this is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI", "true")
        yield


@functools.cache
def port_of(name: str) -> int:
    """Return the data set's port: were it another each time, so would be the contract and every model."""
    return free_port()


def ask_for(project: Settings, name: str = TOWN, gate: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write a quick contract, some of its keys replaced."""
    settled = {
        "source": SOURCE, "features": FEATURES, "search": SEARCH, "slices": [SOUTH], "rules": [],
        "gate": {**GATE, **(gate or {})}, "refit": {"policy": "none"}, "serve": {"port": port_of(name)},
    }  # fmt: skip
    write_contract(project.root, name, **{**settled, **changes})


class Witness:
    """Who was champion and served before a run, to be held against who is after it."""

    def __init__(self, project: Settings, name: str = TOWN) -> None:
        self.project, self.name = project, name
        self.champion, self.pointer, self.n_records = self._champion(), self._pointer(), len(self._records())

    def saw(self, kind: str, *issues: str, result: Any) -> Record:
        """Return the run's record, once kind, reasons, champion and pointer are what they must be."""
        assert result.outcome == kind
        records = self._records()
        assert len(records) == self.n_records + 1
        record = records[-1]
        assert record.kind == kind
        assert record.verdict == result.verdict
        assert [finding.check for finding in record.verdict.issues] == list(issues)
        if kind == "promoted":
            assert self._champion() == record.release == result.release != self.champion
            assert self._pointer() == record.release
        else:
            assert record.release is None
            assert result.release is None
            assert (self._champion(), self._pointer()) == (self.champion, self.pointer)
        return record

    def _records(self) -> tuple[Record, ...]:
        return History(self.project.history).records(self.name)

    def _champion(self) -> str | None:
        record = History(self.project.history).champion(self.name)
        return record.release if record else None

    def _pointer(self) -> str | None:
        path = self.project.serving / f"{self.name}.json"
        return json.loads(path.read_text())["release"] if path.exists() else None


def sentence(record: Record, check: str) -> str:
    assert record.verdict is not None
    (found,) = [finding for finding in record.verdict.reasons if finding.check == check]
    return found.sentence


@pytest.fixture(scope="module")
def linear(project: Settings) -> str:
    """The first champion: ridge on seven columns."""
    ask_for(project)
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), reason="first")
    record = seen.saw("promoted", result=result)
    assert "there is no champion: the absolute limits alone decide" in record.verdict.summary
    return str(result.release)


def test_no_champion_and_below_the_floor(project: Settings) -> None:
    ask_for(project, "nobody", gate={"limits": [{"metric": "mdape_pct", "maximum": 5}]})
    seen = Witness(project, "nobody")
    result = train(dataset="nobody", families=("ridge",), reason="below the floor")
    record = seen.saw("refused", "limit:mdape_pct", result=result)
    assert "above the limit of 5" in record.verdict.summary
    assert (seen.champion, seen.pointer) == (None, None)


def test_worse(linear: str, project: Settings) -> None:
    ask_for(project, features={**FEATURES, "columns": ["yr_built"], "logs": []})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), reason="worse")
    record = seen.saw("kept", "better", "slice:south", result=result)
    assert sentence(record, "better").startswith("worse than the champion")
    assert seen.champion == linear


def test_self_comparison(linear: str, project: Settings) -> None:
    ask_for(project)
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), from_step="evaluate", reason="the same again")
    record = seen.saw("kept", "same-model", result=result)
    assert "the candidate is the champion itself" in record.verdict.summary


def test_tie(linear: str, project: Settings) -> None:
    ask_for(project)
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), seed=1, reason="another seed")
    record = seen.saw("kept", "better", result=result)
    assert sentence(record, "better").startswith("not shown to be better (a tie) than the champion")


def test_nan_metric(linear: str, project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(__import__("hedonic.model.metrics", fromlist=["x"]))["_METRICS"], "mae", broken)
    ask_for(project, gate={"limits": [{"metric": "mae", "maximum": 1e9}]})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), reason="a metric breaks")
    record = seen.saw("refused", "limit:mae", "better", result=result)
    assert sentence(record, "limit:mae") == "mae is nan, not a finite number"
    assert record.figures["mae"] is None


def broken(*_: object) -> float:
    return float("nan")


def test_missing_metric(linear: str, project: Settings) -> None:
    ask_for(project, gate={"limits": [{"metric": "rmsle", "maximum": 1}]})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("ridge",), reason="no such metric")
    record = seen.saw("refused", "limit:rmsle", "better", result=result)
    assert sentence(record, "limit:rmsle") == "rmsle is missing from the candidate's figures"


def test_leaked_rows(linear: str, project: Settings) -> None:
    ask_for(project, split={"method": "random", "seed": 5})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="another split")
    record = seen.saw("refused", "unseen-rows", result=result)
    (found,) = record.verdict.issues
    assert 450 < found.value < 720  # 80 % of 721 holdout rows, of which earlier sales of a house are fewer
    assert f"the champion has seen {found.value:,.0f} of the compared rows in training" in found.sentence
    assert not any(reason.check == "better" for reason in record.verdict.reasons)


def test_a_column_that_the_champion_needs_is_gone(linear: str, project: Settings) -> None:
    described = yaml.safe_load((project.expectations / f"{TOWN}.yaml").read_text())["columns"]
    left = [column for column in described if column["name"] != "floors"]
    ask_for(project, columns=left, features={**FEATURES, "columns": [c for c in COLUMNS if c != "floors"]})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="no floors")
    record = seen.saw("kept", "champion-scored", result=result)
    assert "it needs the column 'floors', which is gone" in record.verdict.summary


def test_one_bad_slice_in_a_better_model(linear: str, project: Settings) -> None:
    sales = pd.read_parquet(project.root / "data" / "small_county.parquet")
    early = sales["date"] < sales["date"].sort_values().iloc[len(sales) * 3 // 4]
    sales["price"] = (
        sales["price"].astype(float).where(~(early & (sales["lat"] < SOUTH_OF)), sales["price"] * 1.35)
    )
    sales.to_parquet(project.root / "data" / "spoilt.parquet", index=False)
    ask_for(project, source={"uri": "data/spoilt.parquet"})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="the south learnt wrong")
    record = seen.saw("kept", "slice:south", result=result)
    assert sentence(record, "better").startswith("better than the champion")
    assert "worse beyond the margin of 0.02: under 47.35 by +0." in sentence(record, "slice:south")


def test_better_but_uncalibrated(linear: str, project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from hedonic.model import training

    sound = training.calibrate

    def narrow(*given: Any) -> Any:
        found = sound(*given)
        return replace(found, q_80=found.q_80 / 2, q_90=found.q_90 / 2)

    monkeypatch.setattr(training, "calibrate", narrow)
    ask_for(project)
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), seed=2, reason="intervals too narrow")
    record = seen.saw("refused", "limit:coverage_90_pct", result=result)
    assert "below the limit of 80" in sentence(record, "limit:coverage_90_pct")
    assert sentence(record, "better").startswith("better than the champion")


def test_better_but_slower_than_its_budget(linear: str, project: Settings) -> None:
    ask_for(project, gate={"max_latency_ms": 0.001})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="slow")
    record = seen.saw("refused", "latency", result=result)
    assert "ms for one prediction, over the budget of 0.001" in record.verdict.summary
    assert sentence(record, "better").startswith("better than the champion")


def test_better_but_its_refit_is_another_model(linear: str, project: Settings) -> None:
    ask_for(project, refit={"policy": "latest", "agreement_mdape_pct": 0.01})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="refit disagrees")
    record = seen.saw("refused", "refit-agrees", result=result)
    assert "refit.agreement_mdape_pct is 0.01" in record.verdict.summary


def test_better_but_against_what_it_must_do(linear: str, project: Settings) -> None:
    shrinking = {"name": "more-area", "changes": {"sqft_living": {"factor": 1.3}}, "effect": "not_higher"}
    ask_for(project, gate={"directions": [shrinking]})
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="the wrong way")
    record = seen.saw("refused", "direction:more-area", result=result)
    assert "sqft_living * 1.3 changes the estimate by +" in record.verdict.summary


def test_simple_model_as_good(project: Settings) -> None:
    ask_for(project, "plain", gate={"simple": {"margin": 0.5}})
    seen = Witness(project, "plain")
    result = train(dataset="plain", families=("boosting",), reason="no better than ridge")
    record = seen.saw("promoted", result=result)
    assert "ridge is as good as boosting and ships in its place" in record.verdict.summary
    assert PortableModel.load(project.releases / "plain" / result.release / "model").family == "ridge"


@pytest.fixture(scope="module")
def better(linear: str, project: Settings) -> str:
    """The second champion: a booster on the same columns, which is truly better."""
    ask_for(project)
    seen = Witness(project)
    result = train(dataset=TOWN, families=("boosting",), reason="better")
    record = seen.saw("promoted", result=result)
    assert seen.champion == linear
    assert sentence(record, "better").startswith("better than the champion")
    return str(result.release)


def test_better(better: str, linear: str) -> None:
    assert better != linear


def test_stale_champion(better: str, linear: str, project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from hedonic.promotion import judging

    sound: Callable[..., Any] = judging.judge

    def overtaken(*given: Any) -> Any:
        judged = sound(*given)
        entry = Entry(dataset=TOWN, kind="promoted", release=linear, actor="another", reason="meanwhile")
        History(project.history).append(entry, expected_champion=better)
        return judged

    monkeypatch.setattr(judging, "judge", overtaken)
    ask_for(project, gate={"test": "non_inferiority", "margin": 0.1, "slices": {"margin": 1.0}})
    result = train(dataset=TOWN, families=("ridge",), reason="overtaken")
    *_, meanwhile, record = History(project.history).records(TOWN)
    assert (meanwhile.actor, meanwhile.release) == ("another", linear)
    assert (result.outcome, record.kind, record.release, record.recipe) == ("refused", "refused", None, None)
    assert [finding.check for finding in record.verdict.issues] == ["stale-champion"]
    assert (
        f"the champion is {linear}, but the candidate was judged against {better}" in record.verdict.summary
    )
    champion = History(project.history).champion(TOWN)
    assert champion.release == linear  # the other's, and not this run's
    assert json.loads((project.serving / f"{TOWN}.json").read_text())["release"] == linear
    versions = open_client(project).search_model_versions(f"name = '{model_name(TOWN)}'")
    ours = max(versions, key=lambda version: int(version.version))
    assert ours.tags[TAG_STATUS] == "rejected"

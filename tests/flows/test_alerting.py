"""What a run came to, as alerts: which it raises and which it settles."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from prefect.states import Cancelled, Crashed, Failed

from flows.train import train
from hedonic.errors import HedonicError, SourceError
from hedonic.model.candidate import CandidateName
from hedonic.model.recipe import Recipe
from hedonic.model.study import Study, Tuning
from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.simplicity import Choice
from hedonic.promotion.verdict import CANARY, Finding, Verdict
from hedonic.settings import Settings
from hedonic.step_key import StepBook, StepKey, StepRecord
from tasks import alerting
from tasks.failing import record_failure
from tests.contracts import house_contract

pytestmark = pytest.mark.slow  # for Prefect's import


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HEDONIC_ROOT", str(tmp_path))
    monkeypatch.setenv("HEDONIC_HOME", str(tmp_path))
    monkeypatch.setattr(alerting, "_mlflow_url", lambda *_: "http://mlflow/run")
    monkeypatch.setattr(alerting, "run_url", lambda *_: None)
    return Settings(root=tmp_path, home=tmp_path)


def verdict(kind: Literal["promoted", "kept", "refused"], check: str = "limit:mdape_pct") -> Verdict:
    outcome: Any = "passed" if kind == "promoted" else "issue"
    finding = Finding(check=check, outcome=outcome, sentence="12.0 is beyond 10")
    return Verdict(promoted=kind == "promoted", kind=kind, reasons=(finding,))


def record(
    kind: Literal["promoted", "kept", "refused"], check: str = "limit:mdape_pct", *, parked: bool = False
) -> Record:
    return Record(
        dataset="houses",
        kind="parked" if parked else kind,
        release="a" * 64 if kind == "promoted" else None,
        verdict=verdict(kind, check),
        actor="someone",
        reason="nightly",
        seq=1,
        at="2026-11-20T03:00:00+00:00",
        previous="0" * 64,
        hash="1" * 64,
    )


def tell(settings: Settings, found: Record, *, unchanged: bool = False) -> None:
    alerting.tell_outcome(settings, house_contract(), found, unchanged=unchanged)


def fail(error: BaseException | None, *, crashed: bool = False, flow_name: str = "train") -> None:
    flow: Any = SimpleNamespace(name=flow_name)
    run: Any = SimpleNamespace(id="5", parameters={"dataset": "houses"})
    state: Any = Crashed(message="the process is gone") if crashed else Failed(data=error)
    alerting.alert_of_failure(flow, run, state)


def keys(settings: Settings) -> list[str]:
    return [alert.key for alert in AlertBook(settings).open()]


def test_a_refusal_stays_open_until_a_candidate_is_not_refused(settings: Settings) -> None:
    tell(settings, record("refused"))
    (alert,) = AlertBook(settings).open()
    assert (alert.kind, alert.severity, alert.link) == ("verdict-refused", "warning", "http://mlflow/run")
    assert alert.text == "refused: 12.0 is beyond 10. The champion stays."
    tell(settings, record("refused"), unchanged=True)
    assert keys(settings) == ["verdict-refused:houses"]
    tell(settings, record("kept"))
    assert keys(settings) == []


def test_a_canary_that_was_stopped_is_an_alert_of_its_own_kind(settings: Settings) -> None:
    tell(settings, record("refused", CANARY))
    assert keys(settings) == ["canary-stopped:houses"]
    tell(settings, record("promoted"))
    assert keys(settings) == []
    assert AlertBook(settings).recent(1)[0].kind == "champion-promoted"


def test_what_awaits_approval_is_told_until_something_else_is_promoted(settings: Settings) -> None:
    tell(settings, record("promoted", parked=True))
    (alert,) = AlertBook(settings).open()
    assert (alert.key, alert.severity) == ("approval-awaited:houses", "warning")
    assert "hedonic approve houses --reason" in alert.text
    tell(settings, record("kept"))
    assert keys(settings) == ["approval-awaited:houses"]
    tell(settings, record("promoted"))
    assert keys(settings) == []


def test_a_run_that_fails_after_its_verdict_is_on_record_and_one_before_it_is_not(settings: Settings) -> None:
    run: Any = SimpleNamespace(id="5", parameters={"dataset": "houses", "reason": "nightly"})
    state: Any = Failed(data=HedonicError("no room for a bento"))
    with closing(open_history(settings)) as history:
        record_failure(settings, "houses", run, state)
        assert history.records() == ()
        decided(settings, flow_run="4")
        record_failure(settings, "houses", run, state)
        assert history.records() == ()
        decided(settings, flow_run="5")
        record_failure(settings, "houses", run, state)
        (failed,) = history.records()
        told = (failed.kind, failed.reason, failed.failure, failed.candidate, failed.release, failed.flow_run)
        assert told == ("failed", "nightly", "no room for a bento", "c" * 64, None, "5")
        assert failed.verdict == verdict("promoted")
        champion = Entry(
            dataset="houses", kind="promoted", release="a" * 64, actor="ana", reason="nightly", flow_run="5"
        )
        history.append(champion, expected_champion=None)
        record_failure(settings, "houses", run, Crashed(message="the process is gone"))
        last = history.records()[-1]
        assert (last.kind, last.failure, last.release) == ("failed", "the process is gone", "a" * 64)
        assert history.champion("houses") is not None
        record_failure(settings, "houses", run, Cancelled())
        assert history.records()[-1].failure == "cancelled"


def test_a_training_that_is_cancelled_leaves_no_run_open_in_mlflow() -> None:
    assert [hook.__name__ for hook in train.on_cancellation_hooks] == ["abandon_run", "end_turn"]


def decided(settings: Settings, flow_run: str) -> None:
    recipe = Recipe(family="boosting", parameters={}, n_clusters=None, seed=0)
    study = Study(name="houses-1", metric="log_rmse", n_trials=0, cut_by_time=False, trials=(), baselines=())
    choice = Choice(
        candidate=CandidateName(dataset="houses", digest="c" * 64, recipe=recipe, n_trees=1, max_leaves=1),
        tuning=Tuning(study=study, recipe=recipe, clusters=None, split_digest="d" * 64),
    )
    key = StepKey(step="decide", dataset="houses", inputs={"run": flow_run}, code={}, lock="", versions={})
    StepBook(settings).write(
        StepRecord(
            key=key,
            arguments={"choice": choice.model_dump(mode="json")},
            output=verdict("promoted").model_dump(mode="json"),
            seconds=1.0,
            flow_run=flow_run,
        )
    )


def test_a_failure_says_what_was_wrong_and_a_success_settles_it(settings: Settings) -> None:
    cause = HedonicError("candidate 12 is gone")
    wrapped = RuntimeError("task failed")
    wrapped.__cause__ = cause
    fail(wrapped)
    (alert,) = AlertBook(settings).open()
    assert (alert.key, alert.severity, alert.text) == (
        "run-failed:houses",
        "critical",
        "candidate 12 is gone",
    )
    tell(settings, record("kept"), unchanged=True)
    assert keys(settings) == []


def test_bad_data_and_a_crash_are_told_apart(settings: Settings) -> None:
    fail(SourceError("houses.parquet does not exist"))
    fail(None, crashed=True)
    found = {alert.key: (alert.title, alert.text) for alert in AlertBook(settings).open()}
    assert found == {
        "data-refused:houses": ("houses: the data were refused", "houses.parquet does not exist"),
        "run-failed:houses": ("houses: train crashed", "the process is gone"),
    }


def test_a_table_that_cannot_be_scored_is_no_refusal_of_the_sales(settings: Settings) -> None:
    fail(SourceError("data/nowhere.csv does not exist"), flow_name="score")
    (alert,) = AlertBook(settings).open()
    told = (alert.kind, alert.key, alert.title, alert.link)
    assert told == ("run-failed", "run-failed:score houses", "houses: score failed", None)


def test_what_goes_wrong_in_telling_is_logged_and_fails_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.home / "alerts.jsonl").mkdir()
    fail(HedonicError("no matter"))
    tell(settings, record("refused"))
    assert caplog.text.count("what came of a run could not be told") == 2

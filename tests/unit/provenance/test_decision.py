"""A decision is explained by the history and the reports that it names, or says what is lost of it."""

from __future__ import annotations

import pytest

from hedonic.data.contract import Family
from hedonic.errors import UserError
from hedonic.model.recipe import Recipe
from hedonic.model.study import Study, Trial, Tuning
from hedonic.promotion.evaluation import Comparison, Evaluation, compare, evaluate
from hedonic.promotion.study_report import StudyReport
from hedonic.promotion.verdict import Finding, Verdict
from hedonic.provenance.decision import explain_decision
from hedonic.serving.predictor import load_release
from tests.contracts import house_frame
from tests.lived_in import LivedIn

CANDIDATE = "e" * 64


def trial(number: int, family: str, *losses: float, state: str = "COMPLETE") -> Trial:
    return Trial.model_validate(
        {"number": number, "family": family, "parameters": {"depth": number}, "state": state,
         "losses": losses, "seconds": 0.1}
    )  # fmt: skip


STUDY = Study(
    name="houses-1",
    metric="log_rmse",
    n_trials=3,
    cut_by_time=False,
    trials=(
        trial(0, "boosting", 0.25, 0.125),
        trial(1, "forest", 0.25),
        trial(2, "boosting", 0.9, state="PRUNED"),
    ),
    baselines=(trial(-1, "median", 0.5), trial(-1, "ridge", 0.24)),
)


def reports(home: LivedIn, family: Family = "boosting") -> tuple[StudyReport, Evaluation, Comparison]:
    """Return the reports of a candidate that is a tenth better than the champion, written down."""
    from hedonic.data.table import columns_from_frame

    frame = house_frame()
    columns = columns_from_frame(home.contract, frame)
    actual = columns["price"]
    estimates = load_release(home.folder).predictor._model.estimate(columns)
    baselines = {"median": actual * 0 + 2e5, "ridge": estimates.estimate * 1.1}
    recipe = Recipe(family=family, parameters={"depth": 0}, n_clusters=None, seed=1)
    tuning = Tuning(study=STUDY, recipe=recipe, clusters=None, split_digest="s")
    study = StudyReport(dataset="houses", tuning=tuning)
    evaluation = evaluate(
        home.contract,
        columns,
        actual,
        estimates,
        baselines,
        candidate_digest=CANDIDATE,  # type: ignore[arg-type]
    )
    comparison = compare(
        home.contract, columns, actual, estimates.estimate, estimates.estimate * 1.1,
        candidate_digest=CANDIDATE, champion_digest="f" * 64,
    )  # fmt: skip
    for report in (study, evaluation, comparison):
        report.write(home.settings.reports)
    return study, evaluation, comparison


@pytest.fixture
def kept(home: LivedIn) -> LivedIn:
    """A home in which a second candidate was judged, and the champion was kept."""
    study, evaluation, comparison = reports(home)
    issue = Finding(check="better", outcome="issue", value=0.0001, limit=0.01, sentence="it is no better")
    passed = Finding(check="latency", outcome="passed", value=1, limit=5, sentence="fast enough")
    verdict = Verdict(promoted=False, kind="kept", reasons=(passed, issue), comparison=comparison.sha256)
    home.append(
        kind="kept", release=None, candidate=CANDIDATE, verdict=verdict, version=2, reason="nightly",
        evaluation=evaluation.sha256, study=study.sha256,
    )  # fmt: skip
    return home


def test_a_kept_version_is_explained_by_alternatives_champion_and_findings(kept: LivedIn) -> None:
    decision = explain_decision(kept.settings, "houses", "2")
    assert decision.record.kind == "kept"
    assert decision.champion is not None
    assert decision.champion.release == kept.release
    told = [(a.family, a.trial, a.loss, a.chosen) for a in decision.alternatives]
    assert told == [
        ("boosting", 0, 0.1875, True),
        ("ridge", -1, 0.24, False),
        ("forest", 1, 0.25, False),
        ("median", -1, 0.5, False),
        ("boosting", 2, None, False),
    ]
    assert [a.family for a in decision.leaderboard] == ["boosting", "ridge", "forest", "median"]
    chosen, holdout, beside, decided = decision.why
    assert chosen == (
        "boosting (trial 0) has the least log_rmse of 3 trials (1 pruned) and 2 naive models: 0.1875; "
        "next comes ridge (naive) with 0.24"
    )
    assert holdout.startswith("on 400 holdout rows")
    assert f"champion {kept.release[:12]} has log-RMSE" in beside
    assert decided == "kept: it is no better (1 of 2 checks passed)"
    assert decision.lost == ()


def test_where_ridge_was_judged_in_the_studys_place_ridge_is_what_was_chosen(home: LivedIn) -> None:
    study, evaluation, _ = reports(home, "ridge")
    home.append(
        kind="kept", release=None, candidate=CANDIDATE, version=2, evaluation=evaluation.sha256,
        study=study.sha256, verdict=Verdict(promoted=False, kind="kept", reasons=()),
    )  # fmt: skip
    decision = explain_decision(home.settings, "houses", "2")
    assert [(a.family, a.trial) for a in decision.alternatives if a.chosen] == [("ridge", -1)]
    found, chosen = decision.why[:2]
    assert found.startswith("boosting (trial 0) has the least log_rmse")
    assert chosen == (
        "ridge (naive) with 0.24 was judged in its place: it is simpler, and was as good on the calibration "
        "rows within gate.simple"
    )


def test_the_same_is_found_by_the_candidates_digest_and_the_champion_by_default(kept: LivedIn) -> None:
    assert explain_decision(kept.settings, "houses", "eeeeee").version == 2
    champion = explain_decision(kept.settings, "houses")
    assert (champion.version, champion.champion) == (1, None)
    assert champion.record.release == kept.release
    assert explain_decision(kept.settings, "houses", kept.release[:9]).record == champion.record


def test_reports_that_are_altered_gone_or_never_named_are_lost_and_the_rest_is_told(kept: LivedIn) -> None:
    (study,) = kept.settings.reports.glob("study-*.json")
    study.chmod(0o644)
    study.write_text(study.read_text().replace('"boosting"', '"forest"', 1))
    next(kept.settings.reports.glob("evaluation-*.json")).unlink()
    decision = explain_decision(kept.settings, "houses", "2")
    assert [told.partition(":")[0] for told in decision.lost] == ["study", "evaluation"]
    assert "so it was changed since it was written" in decision.lost[0]
    assert (decision.alternatives, decision.evaluation) == ((), None)
    assert len(decision.why) == 2
    older = explain_decision(kept.settings, "houses", "1")
    assert "it was written before records did" in older.lost[0]


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (
            "7",
            r"7: nothing of that name was judged\. There: 1 \(promoted, \w{12}\), 2 \(kept, eeeeeeeeeeee\)",
        ),
        ("abcabcabc", "nothing of that name was judged"),
        ("abc", "is neither the number of a model version nor 6 or more hex digits"),
        ("champion", "is neither the number"),
    ],
)
def test_a_version_that_nobody_judged_is_refused_with_those_that_were(
    kept: LivedIn, version: str, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        explain_decision(kept.settings, "houses", version)


def test_a_beginning_that_two_share_asks_for_more(kept: LivedIn) -> None:
    for digest in ("ab12cd" + "0" * 58, "ab12cd" + "1" * 58):
        kept.append(kind="refused", release=None, candidate=digest, version=None, verdict=None)
    with pytest.raises(UserError, match="several begin so: ab12cd0000000000, ab12cd1111111111"):
        explain_decision(kept.settings, "houses", "ab12cd")


def test_a_data_set_without_verdicts_says_so(home: LivedIn) -> None:
    with pytest.raises(UserError, match="cars: nothing was judged yet. Run: hedonic run cars"):
        explain_decision(home.settings, "cars")


def test_an_older_history_has_the_version_beside_the_release(home: LivedIn) -> None:
    (home.settings.home / "history.db").unlink()
    for left in home.settings.home.glob("history.db-*"):
        left.unlink()
    home.append(version=None)
    assert explain_decision(home.settings, "houses", "1").record.release == home.release

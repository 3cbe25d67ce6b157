"""The gate fires on everything it should, stays silent otherwise, and says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hedonic.data.gate_policy import GatePolicy, Limit, SliceGate
from hedonic.promotion.gate import Finding, PairedScores, Verdict, decide
from hedonic.promotion.own_limits import limit_finding, priced_finding

OPEN = GatePolicy(limits=(Limit(metric="log_rmse", maximum=0.25),), margin=0.25, resamples=200)
GOOD = {"log_rmse": 0.2}


def scores(gain, n_rows=200, slices=None):
    """Champion's losses of 1, the candidate's lower by ``gain`` on every row."""
    champion = np.full(n_rows, 1.0)
    return PairedScores(champion - gain, champion, slices or {})


def finding(verdict, check) -> Finding:
    (found,) = [reason for reason in verdict.reasons if reason.check == check]
    return found


def test_a_candidate_within_its_limits_and_better_is_promoted():
    verdict = decide(OPEN, GOOD, scores(0.5), candidate="a", champion="b", n_trees=400, max_leaves=31)
    assert (verdict.promoted, verdict.kind, verdict.issues) == (True, "promoted", ())
    own = "limit:log_rmse trees leaves latency unseen-rows-of-candidate"
    checks = f"{own} same-model unseen-rows finite-losses better"
    assert [reason.check for reason in verdict.reasons] == checks.split()


# Absolute limits


@pytest.mark.parametrize("value", [0.25, 0.1])
def test_a_metric_at_or_under_its_maximum_passes(value):
    verdict = decide(OPEN, {"log_rmse": value})
    found = finding(verdict, "limit:log_rmse")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("promoted", "passed", value, 0.25)


def test_a_metric_just_above_its_maximum_refuses():
    above = math.nextafter(0.25, 1)
    verdict = decide(OPEN, {"log_rmse": above}, scores(0.5), champion="b")
    found = finding(verdict, "limit:log_rmse")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", above, 0.25)
    assert "log_rmse is 0.25, above the limit of 0.25" in found.sentence


@pytest.mark.parametrize(
    ("value", "kind", "limit"),
    [
        (math.nextafter(0.88, 0), "refused", 0.88),
        (0.88, "promoted", 0.92),
        (0.9, "promoted", 0.92),
        (0.92, "promoted", 0.92),
        (math.nextafter(0.92, 1), "refused", 0.92),
    ],
)
def test_a_metric_between_two_limits_passes_with_both_ends_included(value, kind, limit):
    policy = OPEN.model_copy(update={"limits": (Limit(metric="coverage_90", minimum=0.88, maximum=0.92),)})
    verdict = decide(policy, {"coverage_90": value})
    found = finding(verdict, "limit:coverage_90")
    assert (verdict.kind, found.limit) == (kind, limit)
    if kind == "promoted":
        assert found.sentence.endswith(", within the limit of 0.88 to 0.92")


def test_a_metric_under_its_minimum_says_so():
    policy = OPEN.model_copy(update={"limits": (Limit(metric="r2", minimum=0.8),)})
    assert finding(decide(policy, {"r2": 0.9}), "limit:r2").limit == 0.8
    found = finding(decide(policy, {"r2": 0.7}), "limit:r2")
    assert (found.outcome, found.sentence) == ("issue", "r2 is 0.7, below the limit of 0.8")


def test_a_missing_metric_is_refused_by_name():
    verdict = decide(OPEN, {"rmse": 1.0}, scores(0.5), champion="b")
    found = finding(verdict, "limit:log_rmse")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", None, 0.25)
    assert found.sentence == "log_rmse is missing from the candidate's figures"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_refused_by_name(value):
    verdict = decide(OPEN, {"log_rmse": value})
    found = finding(verdict, "limit:log_rmse")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", None, 0.25)
    assert found.sentence == f"log_rmse is {value}, not a finite number"


def test_a_nan_in_a_metric_without_a_limit_does_not_decide():
    assert decide(OPEN, {**GOOD, "prb": math.nan}).promoted


@pytest.mark.parametrize("side", ["minimum", "maximum"])
def test_a_limit_of_nan_refuses_everything(side):
    policy = OPEN.model_copy(update={"limits": (Limit(metric="log_rmse", **{side: math.nan}),)})
    assert decide(policy, GOOD).kind == "refused"


def test_every_limit_is_reported_and_one_that_fails_is_enough():
    policy = OPEN.model_copy(update={"limits": tuple(Limit(metric=m, maximum=1.0) for m in ("a", "b", "c"))})
    verdict = decide(policy, {"a": 0.5, "b": 2.0, "c": 0.5})
    assert verdict.kind == "refused"
    assert [f.outcome for f in verdict.reasons if f.check.startswith("limit:")] == [
        "passed",
        "issue",
        "passed",
    ]


def test_with_neither_limits_nor_champion_nothing_is_promoted():
    policy = OPEN.model_copy(update={"limits": ()})
    verdict = decide(policy, GOOD)
    assert (verdict.kind, finding(verdict, "limits").outcome) == ("refused", "issue")
    assert "add gate.limits to the contract" in verdict.summary
    assert decide(policy, GOOD, scores(0.5), champion="b").promoted
    assert decide(policy, GOOD, scores(0.5)).promoted
    assert decide(policy, GOOD, None, champion="b").kind == "kept"


# Budgets


@pytest.mark.parametrize(
    ("argument", "check", "limit", "over"),
    [("n_trees", "trees", 400, 401), ("max_leaves", "leaves", 31, 32), ("latency_ms", "latency", 5.0, 5.001)],
)
def test_a_budget_is_kept_at_its_limit_and_refuses_above(argument, check, limit, over):
    within = decide(OPEN, GOOD, **{argument: limit})
    assert (within.kind, finding(within, check).outcome) == ("promoted", "passed")
    beyond = decide(OPEN, GOOD, scores(0.5), champion="b", **{argument: over})
    found = finding(beyond, check)
    assert (beyond.kind, found.outcome, found.value, found.limit) == ("refused", "issue", over, limit)
    assert "over the budget" in found.sentence


def test_budgets_of_a_model_without_trees_do_not_apply():
    verdict = decide(OPEN, GOOD, n_trees=0, max_leaves=0)
    assert verdict == decide(OPEN, GOOD)
    found = {check: finding(verdict, check) for check in ("trees", "leaves", "latency")}
    assert {one.outcome for one in found.values()} == {"not applicable"}
    assert found["trees"].sentence == "trees: none to count"
    assert found["latency"].sentence == "latency was not measured"


def test_a_latency_that_is_not_a_number_refuses():
    verdict = decide(OPEN, GOOD, latency_ms=math.nan)
    assert (verdict.kind, finding(verdict, "latency").value) == ("refused", None)


# Against the champion


def test_with_no_champion_the_absolute_limits_alone_decide():
    verdict = decide(OPEN, GOOD)
    assert (verdict.kind, finding(verdict, "champion").outcome) == ("promoted", "not applicable")
    assert "no champion" in verdict.summary
    assert decide(OPEN, {"log_rmse": 0.3}).kind == "refused"


@pytest.mark.parametrize(
    ("gain", "kind"),
    [(0.25, "kept"), (math.nextafter(0.25, 1), "promoted"), (0.0, "kept"), (-0.5, "kept"), (0.125, "kept")],
)
def test_the_gain_must_exceed_the_margin(gain, kind):
    # 1 - gain must be exact, so the champion's loss is 0 here and the candidate's is -gain.
    champion = np.zeros(200)
    verdict = decide(OPEN, GOOD, PairedScores(champion - gain, champion), champion="b")
    assert verdict.kind == kind
    found = finding(verdict, "better")
    assert (found.value, found.limit) == (pytest.approx(gain, rel=1e-12), 0.25)
    assert found.outcome == ("passed" if kind == "promoted" else "issue")


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.5, "better than"), (0.0, "not shown to be better (a tie)"), (-0.25, "worse than")],
)
def test_the_sentence_tells_better_tie_and_worse_apart(gain, words):
    sentence = finding(decide(OPEN, GOOD, scores(gain), champion="b"), "better").sentence
    assert sentence.startswith(words)
    assert f"{1 - gain:.5f} against 1.00000 on 200 rows, a gain of {gain:+.5f}, with 95%" in sentence


def test_the_bound_is_the_lower_percentile_of_paired_resamples():
    rng = np.random.default_rng(1)
    champion = rng.exponential(0.1, 400)
    candidate = champion - rng.normal(0.01, 0.05, 400)
    policy = OPEN.model_copy(update={"margin": 0.0, "resamples": 4000, "confidence": 0.9})
    bound = finding(decide(policy, GOOD, PairedScores(candidate, champion), champion="b"), "better").value
    gain = champion - candidate
    expected = gain.mean() - 1.2816 * gain.std() / np.sqrt(400)  # one-sided 90 % normal bound
    assert bound == pytest.approx(expected, abs=2e-4)


def test_more_confidence_asks_for_more():
    rng = np.random.default_rng(2)
    champion = np.abs(rng.normal(0.1, 0.05, 400))
    pair = PairedScores(champion - rng.normal(0.005, 0.05, 400), champion)
    bounds = [
        finding(decide(OPEN.model_copy(update={"confidence": c}), GOOD, pair, champion="b"), "better").value
        for c in (0.8, 0.95, 0.99)
    ]
    assert bounds[0] > bounds[1] > bounds[2]


def test_the_number_of_resamples_is_the_policys(monkeypatch):
    asked = {}

    def spy(*_, **keywords):
        asked.update(keywords)
        raise InterruptedError

    monkeypatch.setattr("scipy.stats.bootstrap", spy)
    with pytest.raises(InterruptedError):
        decide(OPEN, GOOD, scores(0.5, n_rows=5000), champion="b")
    assert (asked["n_resamples"], asked["alternative"], asked["method"]) == (200, "greater", "percentile")
    assert asked["batch"] == 200  # a million cells at once


def test_rows_are_resampled_in_pairs():
    """The pair's common noise is a hundred times the gain: unpaired, it would drown it."""
    rng = np.random.default_rng(3)
    champion = rng.exponential(1.0, 500)
    policy = OPEN.model_copy(update={"margin": 0.0})
    assert decide(policy, GOOD, PairedScores(champion - 0.01, champion), champion="b").promoted


def test_the_same_seed_gives_the_same_verdict_and_another_seed_another_bound():
    rng = np.random.default_rng(4)
    pair = PairedScores(rng.exponential(0.1, 100), rng.exponential(0.1, 100))
    first, again, other = (decide(OPEN, GOOD, pair, champion="b", seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert finding(first, "better").value != finding(other, "better").value
    assert decide(OPEN, GOOD, pair, champion="b") == decide(OPEN, GOOD, pair, champion="b", seed=0)


@pytest.mark.parametrize(("n_rows", "kind"), [(0, "kept"), (1, "kept"), (29, "kept"), (30, "promoted")])
def test_fewer_than_thirty_rows_show_nothing(n_rows, kind):
    verdict = decide(OPEN, GOOD, scores(0.5, n_rows=n_rows), champion="b")
    assert verdict.kind == kind
    if kind == "kept":
        found = finding(verdict, "better")
        assert (found.outcome, found.value, found.limit) == ("issue", None, 0.25)
        assert f"only {n_rows} rows" in found.sentence


def test_the_champion_itself_is_kept_with_a_reason_of_its_own():
    verdict = decide(OPEN, GOOD, scores(0.0), candidate="f" * 64, champion="f" * 64)
    assert (verdict.kind, finding(verdict, "same-model").outcome) == ("kept", "issue")
    assert (
        verdict.summary
        == "kept: the candidate is the champion itself (ffffffffffff): there is nothing to promote"
    )
    assert not any(reason.check in ("better", "unseen-rows") for reason in verdict.reasons)


def test_the_champion_itself_is_kept_even_beyond_a_limit_which_is_told():
    verdict = decide(OPEN, {"log_rmse": 0.3}, scores(0.0), candidate="f", champion="f")
    assert [reason.check for reason in verdict.issues] == ["limit:log_rmse", "same-model"]
    assert verdict.kind == "kept"


def test_two_models_without_digests_are_not_the_same_model():
    assert decide(OPEN, GOOD, scores(0.5)).promoted


def test_rows_that_the_champion_has_seen_refuse_with_their_count():
    verdict = decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=1234)
    found = finding(verdict, "unseen-rows")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", 1234, 0)
    assert "1,234 of the compared rows" in found.sentence
    assert not any(reason.check == "better" for reason in verdict.reasons)
    assert decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=1).kind == "refused"
    clean = finding(decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=0), "unseen-rows")
    assert (clean.outcome, clean.value) == ("passed", 0)


def test_a_negative_count_of_leaked_rows_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="n_leaked is a count; got -1"):
        decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=-1)


@pytest.mark.parametrize("who", ["candidate", "champion"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_refuses(who, value):
    pair = scores(0.5)
    getattr(pair, who)[3:5] = value
    verdict = decide(OPEN, GOOD, pair, champion="b")
    found = finding(verdict, "finite-losses")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", 2, 0)
    assert f"2 of the {who}" in found.sentence


def test_a_champion_that_cannot_be_scored_is_kept():
    verdict = decide(OPEN, GOOD, None, candidate="a", champion="b", unscored="it needs the column 'grade'")
    assert (verdict.kind, finding(verdict, "champion-scored").outcome) == ("kept", "issue")
    assert verdict.summary == (
        "kept: the champion could not be scored here (it needs the column 'grade'): "
        "the candidate is not shown to be better"
    )
    assert decide(OPEN, {"log_rmse": 1.0}, None, candidate="a", champion="b").kind == "refused"
    assert decide(OPEN, GOOD, None, candidate="a", champion="b", n_leaked=1).kind == "refused"


def test_a_candidate_both_beyond_a_limit_and_worse_is_refused_with_both_reasons():
    verdict = decide(OPEN, {"log_rmse": 0.3}, scores(-0.5), champion="b")
    assert verdict.kind == "refused"
    assert [reason.check for reason in verdict.issues] == ["limit:log_rmse", "better"]


# Slices


def sliced(worsening, n_bad=100, n_good=300, **gate):
    """A candidate better by 1 on ``n_good`` rows and worse by ``worsening`` on ``n_bad``."""
    gain = np.r_[np.full(n_good, 1.0), np.full(n_bad, -worsening)]
    labels = np.array(["good"] * n_good + ["bad"] * n_bad, dtype=object)
    champion = np.zeros(len(gain))
    policy = OPEN.model_copy(update={"slices": SliceGate(minimum_rows=100, margin=0.125, **gate)})
    return decide(policy, GOOD, PairedScores(champion - gain, champion, {"part": labels}), champion="b")


def test_a_better_model_with_one_bad_slice_keeps_the_champion():
    verdict = sliced(0.5)
    found = finding(verdict, "slice:part")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("kept", "issue", 0.5, 0.125)
    assert finding(verdict, "better").outcome == "passed"
    assert found.sentence == "part: worse beyond the margin of 0.125: bad by +0.5000 on 100 rows"


@pytest.mark.parametrize(
    ("worsening", "kind"), [(0.125, "promoted"), (math.nextafter(0.125, 1), "kept"), (-0.5, "promoted")]
)
def test_a_slice_may_get_worse_up_to_its_margin(worsening, kind):
    assert sliced(worsening).kind == kind


@pytest.mark.parametrize(("n_bad", "kind"), [(99, "promoted"), (100, "kept")])
def test_a_slice_counts_from_its_minimum_of_rows_on(n_bad, kind):
    assert sliced(0.5, n_bad=n_bad).kind == kind


def test_a_slice_that_passes_names_its_largest_change():
    found = finding(sliced(0.0625), "slice:part")
    assert (found.outcome, found.value) == ("passed", 0.0625)
    told = "no part of 2 is shown to be worse beyond 0.125; the largest change is bad by +0.0625 on 100 rows"
    assert found.sentence == f"part: {told}"


def test_a_slice_whose_parts_are_all_small_does_not_apply():
    found = finding(sliced(0.5, n_bad=50, n_good=60), "slice:part")
    assert (found.outcome, found.value, found.limit) == ("not applicable", None, 0.125)
    assert "none of its 2 parts has 100 rows" in found.sentence


def test_a_slice_is_judged_against_the_champion_not_by_its_losses():
    champion = np.repeat([2.0, 4.0], 100)
    labels = np.repeat(["easy", "hard"], 100)
    policy = OPEN.model_copy(update={"slices": SliceGate(minimum_rows=100, margin=0.125)})
    verdict = decide(policy, GOOD, PairedScores(champion - 1, champion, {"part": labels}), champion="b")
    assert (verdict.kind, finding(verdict, "slice:part").value) == ("promoted", -1.0)


def test_scores_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot assign to field 'champion'"):
        scores(0.5).champion = np.zeros(3)


def test_every_bad_part_of_a_slice_is_named_worst_first():
    gain = np.repeat([4.0, -0.25, -0.5], 100)
    labels = np.repeat([1.0, 2.0, np.nan], 100)
    policy = OPEN.model_copy(update={"slices": SliceGate(minimum_rows=100, margin=0.125)})
    verdict = decide(policy, GOOD, PairedScores(-gain, np.zeros(300), {"age": labels}), champion="b")
    found = finding(verdict, "slice:age")
    assert found.value == 0.5
    assert found.sentence.endswith("missing by +0.5000 on 100 rows; 2.0 by +0.2500 on 100 rows")


def test_missing_labels_are_a_part_of_their_own():
    gain = np.repeat([1.0, -0.5], [300, 100])
    labels = np.array(["a"] * 300 + [None] * 100, dtype=object)
    policy = OPEN.model_copy(update={"slices": SliceGate(minimum_rows=100, margin=0.125)})
    verdict = decide(policy, GOOD, PairedScores(-gain, np.zeros(400), {"zip": labels}), champion="b")
    assert "missing by +0.5000" in finding(verdict, "slice:zip").sentence


# Values


@pytest.mark.parametrize(
    ("candidate", "champion", "slices"),
    [
        (np.zeros(3), np.zeros(4), {}),
        (np.zeros(3), np.zeros(3), {"zip": np.zeros(2)}),
        (np.zeros((3, 1)), np.zeros((3, 1)), {}),
    ],
)
def test_scores_about_different_rows_are_refused(candidate, champion, slices):
    with pytest.raises(
        ValueError, match=r"must be about the same rows; got shapes candidate \(.*\), champion \("
    ):
        PairedScores(candidate, champion, slices)


def test_a_verdict_survives_json():
    verdict = decide(OPEN, {"log_rmse": math.nan}, scores(0.5), champion="b")
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_a_verdict_cannot_contradict_itself():
    with pytest.raises(ValidationError, match="a verdict of kind kept cannot have promoted=True"):
        Verdict(promoted=True, kind="kept", reasons=())


# Properties


@settings(max_examples=50, deadline=None)
@given(
    gain=st.floats(-1, 1),
    n_leaked=st.integers(0, 2),
    metric=st.floats(allow_nan=True),
    n_rows=st.integers(0, 60),
)
def test_nothing_is_promoted_with_an_issue_and_nothing_is_held_back_without(gain, n_leaked, metric, n_rows):
    verdict = decide(
        OPEN,
        {"log_rmse": metric},
        scores(gain, n_rows=n_rows),
        candidate="a",
        champion="b",
        n_leaked=n_leaked,
    )
    assert verdict.promoted == (not verdict.issues)
    assert verdict.summary.startswith(verdict.kind)


# Confidence, looks and what is asked


@pytest.mark.parametrize(
    ("gain", "kind"),
    [(-0.25, "kept"), (math.nextafter(-0.25, 0), "promoted"), (0.0, "promoted"), (-0.5, "kept")],
)
def test_non_inferiority_asks_that_the_candidate_is_not_worse_beyond_the_margin(gain, kind):
    policy = OPEN.model_copy(update={"test": "non_inferiority"})
    champion = np.zeros(200)
    verdict = decide(policy, GOOD, PairedScores(champion - gain, champion), champion="b")
    found = finding(verdict, "better")
    assert (verdict.kind, found.limit) == (kind, -0.25)
    words = {"promoted": "not worse than", "kept": "worse than"}[kind]
    assert found.sentence.startswith(words)


def test_what_is_not_shown_to_be_no_worse_is_told_so():
    policy = OPEN.model_copy(update={"test": "non_inferiority", "margin": 0.001})
    gain = np.random.default_rng(9).normal(0.0005, 0.5, 200)
    gain += 0.0005 - gain.mean()
    verdict = decide(policy, GOOD, PairedScores(1 - gain, np.ones(200)), champion="b")
    assert finding(verdict, "better").sentence.startswith("not shown to be not worse than")
    few = decide(policy, GOOD, scores(0.5, n_rows=29), champion="b")
    assert "the candidate is not shown to be not worse" in finding(few, "better").sentence


@pytest.mark.parametrize(("max_looks", "told"), [(None, "95%"), (1, "95%"), (2, "97.5%"), (20, "99.75%")])
def test_a_holdout_that_may_judge_often_asks_for_more_confidence_each_time(max_looks, told):
    policy = OPEN.model_copy(update={"max_looks": max_looks, "resamples": 2000})
    rng = np.random.default_rng(10)
    champion = rng.exponential(0.5, 200)
    pair = PairedScores(champion - rng.normal(0.4, 0.8, 200), champion)
    found = finding(decide(policy, GOOD, pair, champion="b"), "better")
    assert f"with {told} confidence" in found.sentence
    gain = champion - pair.candidate
    z = {"95%": 1.645, "97.5%": 1.960, "99.75%": 2.807}[told]
    assert found.value == pytest.approx(gain.mean() - z * gain.std() / np.sqrt(200), abs=0.025)


@pytest.mark.parametrize(("n_looks", "kind"), [(0, "promoted"), (2, "promoted"), (3, "kept"), (4, "kept")])
def test_a_holdout_judges_as_many_candidates_as_the_contract_allows(n_looks, kind):
    policy = OPEN.model_copy(update={"max_looks": 3})
    verdict = decide(policy, GOOD, scores(0.5), champion="b", n_looks=n_looks)
    found = finding(verdict, "holdout-looks")
    assert (verdict.kind, found.value, found.limit) == (kind, n_looks, 3)
    told = f"this holdout has judged {n_looks} other candidates; gate.max_looks is 3"
    assert found.sentence.startswith(told)
    compared = {reason.check for reason in verdict.reasons} >= {"better"}
    assert compared == (kind == "promoted")
    assert ("its answers are used up" in verdict.summary) == (kind == "kept")


def test_a_holdout_whose_looks_are_not_counted_is_not_told_of():
    verdict = decide(OPEN, GOOD, scores(0.5), champion="b", n_looks=1000)
    assert verdict.promoted
    assert not any(reason.check == "holdout-looks" for reason in verdict.reasons)
    beyond = OPEN.model_copy(update={"max_looks": 1})
    assert decide(beyond, {"log_rmse": 1.0}, scores(0.5), champion="b", n_looks=1).kind == "refused"


@pytest.mark.parametrize("name", ["n_leaked", "n_own_leaked", "n_looks"])
def test_a_negative_count_is_a_mistake_of_the_caller_by_name(name):
    with pytest.raises(ValueError, match=f"{name} is a count; got -2"):
        decide(OPEN, GOOD, **{name: -2})
    assert decide(OPEN, GOOD, **{name: 0}).promoted


# Rows that were seen, and a champion that cannot be scored


def test_rows_that_the_candidate_has_seen_refuse_even_without_a_champion():
    verdict = decide(OPEN, GOOD, n_own_leaked=12)
    found = finding(verdict, "unseen-rows-of-candidate")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", 12, 0)
    assert "the candidate has seen 12 of the holdout rows in training" in found.sentence
    assert decide(OPEN, GOOD, scores(0.5), champion="b", n_own_leaked=1).kind == "refused"
    clean = finding(decide(OPEN, GOOD), "unseen-rows-of-candidate")
    assert (clean.outcome, clean.value) == ("passed", 0)
    assert clean.sentence == "the candidate has seen none of the holdout rows"


def test_rows_without_an_id_do_not_tell_what_the_candidate_has_seen():
    found = finding(decide(OPEN, GOOD, n_own_leaked=None), "unseen-rows-of-candidate")
    assert (found.outcome, found.value, found.limit) == ("not applicable", None, 0)


def test_a_champion_whose_rows_cannot_be_told_refuses():
    verdict = decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=None)
    found = finding(verdict, "unseen-rows")
    assert (verdict.kind, found.outcome, found.value, found.limit) == ("refused", "issue", None, 0)
    assert "cannot be told" in found.sentence


def test_a_contract_may_let_the_limits_decide_where_the_champion_cannot_be_scored():
    policy = OPEN.model_copy(update={"unscored_champion": "limits_decide"})
    verdict = decide(policy, GOOD, None, champion="b", n_leaked=None, unscored="it is blind")
    found = finding(verdict, "champion-scored")
    assert (verdict.kind, found.outcome) == ("promoted", "not applicable")
    assert verdict.summary == (
        "promoted: the champion could not be scored here (it is blind): the absolute limits alone decide"
    )
    assert decide(policy, {"log_rmse": 1.0}, None, champion="b").kind == "refused"
    assert decide(policy, GOOD, scores(-0.5), champion="b").kind == "kept"
    assert decide(policy, GOOD, None, candidate="b", champion="b").kind == "kept"


# What others found


@pytest.mark.parametrize(("outcome", "kind"), [("issue", "refused"), ("passed", "promoted")])
def test_what_a_model_s_behaviour_showed_refuses_or_stays_silent(outcome, kind):
    shown = Finding(check="direction:more-area", outcome=outcome, sentence="as it is")
    for pair, champion in ((None, None), (scores(0.5), "b")):
        verdict = decide(OPEN, GOOD, pair, champion=champion, findings=[shown])
        assert verdict.kind == kind
        assert finding(verdict, "direction:more-area") == shown


def test_files_within_their_budget_pass_and_larger_ones_refuse():
    policy = OPEN.model_copy(update={"max_size_mb": 2.0})
    within = finding(decide(policy, GOOD, size_mb=2.0), "size")
    assert (within.outcome, within.sentence) == ("passed", "2 MB of files, within the budget of 2")
    beyond = decide(policy, GOOD, size_mb=2.5)
    found = finding(beyond, "size")
    assert (beyond.kind, found.value, found.limit) == ("refused", 2.5, 2.0)
    assert found.sentence == "2.5 MB of files, over the budget of 2"
    assert finding(decide(policy, GOOD), "size").outcome == "not applicable"
    assert not any(reason.check == "size" for reason in decide(OPEN, GOOD, size_mb=2000).reasons)


@pytest.mark.parametrize(("n_unpriced", "outcome"), [(0, "passed"), (1, "issue")])
def test_a_candidate_that_gives_a_row_no_price_is_refused(n_unpriced, outcome):
    one = priced_finding(n_unpriced, 120)
    assert (one.check, one.outcome, one.value, one.limit) == ("prices", outcome, n_unpriced, 0)
    told = (
        "1 of 120 holdout rows no price above 0" if n_unpriced else "each of 120 holdout rows a price above 0"
    )
    assert f"the candidate gives {told}" in one.sentence


def test_losses_that_are_not_finite_are_counted_for_each_model():
    compared = scores(0.5)
    compared.candidate[:1], compared.champion[:2] = math.nan, math.inf
    found = finding(decide(OPEN, GOOD, compared, champion="b"), "finite-losses")
    told = "losses that are not finite numbers: 1 of the candidate and 2 of the champion"
    assert (found.outcome, found.value, found.limit, found.sentence) == ("issue", 3, 0, told)
    none = finding(decide(OPEN, GOOD, scores(0.5), champion="b"), "finite-losses")
    assert (none.outcome, none.sentence) == ("passed", "losses that are not finite numbers: none")


@pytest.mark.parametrize("n_leaked", [None, 0, 1])
def test_no_seen_row_is_allowed(n_leaked):
    verdict = decide(OPEN, GOOD, scores(0.5), champion="b", n_leaked=n_leaked, n_own_leaked=n_leaked)
    for check in ("unseen-rows", "unseen-rows-of-candidate"):
        found = finding(verdict, check)
        assert (found.value, found.limit) == (n_leaked, 0)


def test_the_seed_is_0_unless_another_is_given():
    rng = np.random.default_rng(0)
    compared = PairedScores(rng.exponential(1.0, 200), rng.exponential(1.0, 200))
    found = [
        finding(decide(OPEN, GOOD, compared, champion="b", **seed), "better").value
        for seed in ({}, {"seed": 0}, {"seed": 1})
    ]
    assert found[0] == found[1] != found[2]


def test_what_has_no_trees_and_was_not_timed_has_nothing_to_count():
    told = {
        check: (finding(decide(OPEN, GOOD), check).outcome, finding(decide(OPEN, GOOD), check).sentence)
        for check in ("trees", "leaves", "latency")
    }
    assert told == {
        "trees": ("not applicable", "trees: none to count"),
        "leaves": ("not applicable", "leaves in the largest tree: none to count"),
        "latency": ("not applicable", "latency was not measured"),
    }


@pytest.mark.parametrize("value", [None, math.nan])
@pytest.mark.parametrize("bounds", [{"minimum": 0.5}, {"maximum": 0.5}, {"minimum": 0.1, "maximum": 0.5}])
def test_a_limit_on_what_is_missing_is_told(value, bounds):
    found = limit_finding(Limit(metric="r2", **bounds), value)
    assert (found.outcome, found.value, found.limit) == ("issue", None, 0.5)

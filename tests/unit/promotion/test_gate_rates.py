"""How often the gate promotes what is no better, and what is: on drawn losses, by the hundred."""

from __future__ import annotations

import numpy as np

from hedonic.data.gate_policy import GatePolicy, Limit, SliceGate
from hedonic.promotion.gate import PairedScores, decide

OPEN = GatePolicy(limits=(Limit(metric="log_rmse", maximum=0.25),), margin=0.25, resamples=200)
GOOD = {"log_rmse": 0.2}


def test_models_of_the_same_quality_are_promoted_at_most_at_the_stated_rate():
    """A/A: with a margin of 0 the one-sided test promotes (1 - confidence); 24 of 200 is p < 1e-4."""
    policy = OPEN.model_copy(update={"margin": 0.0, "resamples": 500})
    rng = np.random.default_rng(5)
    promoted = sum(
        decide(policy, GOOD, PairedScores(*rng.exponential(0.1, (2, 200))), champion="b", seed=seed).promoted
        for seed in range(200)
    )
    assert 1 <= promoted <= 24


def test_a_true_gain_of_two_standard_errors_over_the_bound_is_found():
    policy = OPEN.model_copy(update={"margin": 0.0, "resamples": 500})
    rng = np.random.default_rng(6)
    found = 0
    for seed in range(100):
        champion = rng.exponential(0.1, 400)
        candidate = champion - rng.normal(0.0095, 0.05, 400)  # 3.8 standard errors
        found += decide(policy, GOOD, PairedScores(candidate, champion), champion="b", seed=seed).promoted
    assert found >= 93


def test_many_slices_that_are_no_worse_veto_at_most_at_the_stated_rate():
    """Of 100 parts a bare mean would call many worse; by the false discovery rate 5 % of verdicts are."""
    policy = OPEN.model_copy(update={"margin": 0.0, "slices": SliceGate(minimum_rows=30, margin=0.0)})
    rng, labels = np.random.default_rng(7), np.repeat(np.arange(100.0), 30)
    vetoed = naive = 0
    for seed in range(100):
        worsening = rng.normal(0.0, 0.05, 3000)
        pair = PairedScores(1 + worsening, np.ones(3000), {"part": labels})
        verdict = decide(policy, GOOD, pair, champion="b", seed=seed)
        vetoed += any(f.check == "slice:part" for f in verdict.issues)
        naive += bool((worsening.reshape(100, 30).mean(axis=1) > 0).any())
    assert naive == 100
    assert vetoed <= 12


def test_a_part_that_is_truly_worse_is_found_among_many():
    policy = OPEN.model_copy(update={"margin": 0.0, "slices": SliceGate(minimum_rows=30, margin=0.02)})
    rng, labels = np.random.default_rng(8), np.repeat(np.arange(50.0), 100)
    found = 0
    for seed in range(50):
        worsening = rng.normal(-0.01, 0.05, 5000)
        worsening[:100] += 0.06
        pair = PairedScores(1 + worsening, np.ones(5000), {"part": labels})
        found += decide(policy, GOOD, pair, champion="b", seed=seed).kind == "kept"
    assert found >= 45

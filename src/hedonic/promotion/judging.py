"""The judging of a candidate: everything that the gate decides on is measured, and the gate asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.model.candidate import CandidateStore
from hedonic.promotion.behaviour import behaviour_findings
from hedonic.promotion.comparison import contest, count_looks
from hedonic.promotion.evaluation import Comparison, Evaluation
from hedonic.promotion.gate import decide
from hedonic.promotion.latency import latency_ms
from hedonic.promotion.own_limits import priced_finding
from hedonic.promotion.record import Record
from hedonic.promotion.served_refit import size_mb
from hedonic.promotion.simplicity import Choice
from hedonic.promotion.slice_gate import part_findings
from hedonic.promotion.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a candidate, and the comparison behind it; None where there was none."""

    verdict: Verdict
    comparison: Comparison | None


def judge(
    data: TrainingData,
    store: CandidateStore,
    choice: Choice,
    evaluation: Evaluation,
    champion: Path | None,
    records: Iterable[Record],
) -> Judgement:
    """Return the gate's verdict on a candidate.

    Args:
        data: rows and split; the holdout decides.
        store: where the candidate is.
        choice: the candidate, and why it and not a simpler one.
        evaluation: of the candidate on the holdout.
        champion: the champion's release folder; None when there is no champion.
        records: the data set's history.
    """
    policy, candidate = data.contract.gate, choice.candidate
    model = store.load(candidate)
    rival = contest(data, model, candidate.digest, champion)
    rows, holdout = take(data.columns, data.split.holdout), data.holdout_digest
    verdict = decide(
        policy,
        evaluation.figures,
        rival.scores,
        candidate=candidate.digest,
        champion=rival.champion,
        findings=[
            priced_finding(evaluation.n_unpriced, evaluation.n_rows),
            *([choice.finding] if choice.finding else []),
            *part_findings(policy.slices, policy.confidence, evaluation.slices),
            *behaviour_findings(data.contract, rows, lambda asked: model.estimate(asked).estimate),
        ],
        n_leaked=rival.n_leaked,
        n_own_leaked=rival.n_own_leaked,
        unscored=rival.unscored,
        n_looks=count_looks(records, holdout, candidate.digest),
        n_trees=candidate.n_trees,
        max_leaves=candidate.max_leaves,
        latency_ms=latency_ms(model, data),
        size_mb=size_mb(store.folder(candidate)),
        seed=candidate.recipe.seed,
    )
    return Judgement(verdict.model_copy(update={"holdout": holdout}), rival.comparison)

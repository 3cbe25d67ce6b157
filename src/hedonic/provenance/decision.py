"""The decision: what else was tried, what the candidate was held against, and why it was decided so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError
from hedonic.model.metrics import Metrics
from hedonic.model.study import Study, Trial, Tuning
from hedonic.promotion.evaluation import Comparison, Evaluation, Report
from hedonic.promotion.record import CROWNING, Record
from hedonic.promotion.study_report import StudyReport
from hedonic.promotion.verdict import Verdict
from hedonic.provenance.judged_record import find_judged
from hedonic.provenance.trace import read_history
from hedonic.settings import Settings

AnyReport = TypeVar("AnyReport", bound=Report)


class Alternative(Frozen):
    """A trial or a naive model of the study.

    Attributes:
        trial: its number; -1 for a naive model, which is scored beside the study.
        loss: the mean over the folds; None where it was pruned or failed.
        chosen: whether its recipe was trained.
    """

    family: str
    trial: int
    state: str
    loss: float | None
    parameters: dict[str, Any]
    chosen: bool


class Decision(Frozen):
    """A verdict with all that it rests on.

    Attributes:
        champion: the record of the champion that it was held against; None without one.
        metric: of the losses, the less the better.
        alternatives: every trial and naive model, the best first.
        evaluation, comparison: on the holdout; None where there is none, or the report is gone.
        why: this one and no other, a sentence each.
        lost: reports that are gone or were altered, a sentence each.
    """

    dataset: str
    version: int | None
    record: Record
    champion: Record | None
    metric: str | None
    alternatives: tuple[Alternative, ...]
    evaluation: Evaluation | None
    comparison: Comparison | None
    why: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def leaderboard(self) -> tuple[Alternative, ...]:
        """Return the best alternative of each family, the best family first."""
        best: dict[str, Alternative] = {}
        for alternative in self.alternatives:
            best.setdefault(alternative.family, alternative)
        return tuple(best.values())


def explain_decision(settings: Settings, dataset: str, version: str | None = None) -> Decision:
    """Return the decision on a version, by the history and the reports that it names by their digests.

    Args:
        settings: name the history and the reports.
        dataset: the data set.
        version: of the registered model, or the beginning of a digest; by default the champion.

    Raises:
        UserError: there is no such version.
    """
    history = read_history(settings, dataset)
    record = find_judged(settings, dataset, version, history)
    lost: list[str] = []
    study = _read(settings.reports, StudyReport, record.study, lost)
    evaluation = _read(settings.reports, Evaluation, record.evaluation, lost)
    compared = record.verdict.comparison if record.verdict else None
    comparison = _read(settings.reports, Comparison, compared, lost) if compared else None
    champion = _champion_before(record, history)
    tuning = study.tuning if study else None
    return Decision(
        dataset=dataset,
        version=record.version,
        record=record,
        champion=champion,
        metric=tuning.study.metric if tuning else None,
        alternatives=tuple(_alternatives(tuning)) if tuning else (),
        evaluation=evaluation,
        comparison=comparison,
        why=tuple(_why(record, champion, tuning, evaluation, comparison)),
        lost=tuple(lost),
    )


def _read(folder: Path, kind: type[AnyReport], digest: str | None, lost: list[str]) -> AnyReport | None:
    """Return the report of that digest; where there is none, ``lost`` gains a sentence."""
    if digest is None:
        lost.append(f"the record names no {kind.kind}: it was written before records did")
        return None
    try:
        report = kind.read(folder / f"{kind.kind}-{digest[:16]}.json")
    except HedonicError as err:
        lost.append(f"{kind.kind}: {err}")
        return None
    if report.sha256 != digest:
        lost.append(f"{kind.kind}: {folder.name} holds {report.sha256}, the record names {digest}")
        return None
    return report


def _champion_before(record: Record, history: Sequence[Record]) -> Record | None:
    before = [r for r in history if r.kind in CROWNING and r.seq < record.seq]
    return before[-1] if before else None


def _alternatives(tuning: Tuning) -> Iterator[Alternative]:
    tried = sorted((*tuning.study.trials, *tuning.study.baselines), key=lambda trial: trial.loss)
    for trial in tried:
        yield Alternative(
            family=trial.family,
            trial=trial.number,
            state=trial.state,
            loss=trial.loss if trial.state == "COMPLETE" else None,
            parameters=trial.parameters,
            chosen=trial == tuning.trial,
        )


def _why(
    record: Record,
    champion: Record | None,
    tuning: Tuning | None,
    evaluation: Evaluation | None,
    comparison: Comparison | None,
) -> Iterator[str]:
    if tuning is not None:
        yield _chosen(tuning.study)
        if tuning.trial != tuning.study.best:
            yield (
                f"{_named(tuning.trial)} with {tuning.trial.loss:.5g} was judged in its place: it is "
                "simpler, and was as good on the calibration rows within gate.simple"
            )
    if evaluation is not None:
        beside = ", ".join(f"{name} {_figures(metrics)}" for name, metrics in evaluation.baselines.items())
        yield (
            f"on {evaluation.n_rows:,} holdout rows, which neither tuning nor fitting saw, it has "
            f"{_figures(evaluation.overall)}; beside it {beside}"
        )
    if comparison is not None and champion is not None:
        yield (
            f"champion {(champion.release or '')[:12]} has {_figures(comparison.champion)} on the same rows, "
            f"the candidate {_figures(comparison.candidate)}: a gain of {comparison.gain:+.5f} in mean "
            "absolute log error"
        )
    if record.verdict is not None:
        yield _decided(record.verdict)


def _chosen(study: Study) -> str:
    best, others = study.best, [trial for trial in study.leaderboard if trial.family != study.best.family]
    n_pruned = sum(trial.state != "COMPLETE" for trial in study.trials)
    told = (
        f"{_named(best)} has the least {study.metric} of {study.n_trials} trials ({n_pruned} pruned) and "
        f"{len(study.baselines)} naive models: {best.loss:.5g}"
    )
    if others:
        told += f"; next comes {_named(others[0])} with {others[0].loss:.5g}"
    return f"{told}; a time limit cut the study" if study.cut_by_time else told


def _named(trial: Trial) -> str:
    return f"{trial.family} (trial {trial.number})" if trial.number >= 0 else f"{trial.family} (naive)"


def _figures(metrics: Metrics) -> str:
    return f"log-RMSE {metrics.log_rmse:.4f} and MdAPE {metrics.mdape_pct:.2f} %"


def _decided(verdict: Verdict) -> str:
    n_passed = sum(finding.outcome == "passed" for finding in verdict.reasons)
    return f"{verdict.summary} ({n_passed} of {len(verdict.reasons)} checks passed)"

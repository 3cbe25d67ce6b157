"""What each step of a training flow leaves in MLflow: parameters, figures, curves and plots."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot
from hedonic.data.table import Columns, take
from hedonic.data.validated import ValidationReport
from hedonic.model import plots as model_plots
from hedonic.model.plots import write_png
from hedonic.promotion import plots as holdout_plots
from hedonic.promotion.evaluation import Comparison, Evaluation, is_price, slice_labels
from hedonic.promotion.verdict import Verdict
from hedonic.settings import Settings
from hedonic.tracking import TAG_FLOW_RUN, Status, Tracking, TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hedonic.model.recipe import Recipe
    from hedonic.model.study import Trial, Tuning
    from hedonic.model.training import Candidate

Vector = npt.NDArray[np.float64]

HISTORY = "history.png"


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """The MLflow run of one flow run, to which each step adds a child."""

    settings: Settings
    contract: Contract
    run_id: str

    @classmethod
    def begin(cls, settings: Settings, contract: Contract, *, flow_run: str, reason: str) -> FlowRecord:
        """Return the record of a flow run; one that resumes goes on with the run that it began."""
        name = f"train {contract.name}: {reason}"
        tags = {TAG_FLOW_RUN: flow_run, "hedonic.reason": reason, "hedonic.dataset": contract.name}
        return cls(settings, contract, Tracking(settings, contract.name).start_flow_run(name, tags))

    @property
    def tracking(self) -> Tracking:
        """Return the experiment of the data set."""
        return Tracking(self.settings, self.contract.name)

    def ingested(self, snapshot: Snapshot, file: Path) -> None:
        """Name the snapshot as the run's dataset."""
        tracking = self.tracking
        facts = {"rows": snapshot.n_rows, "snapshot": snapshot.digest, "source": snapshot.source_uri}
        tracking.log_step(self.run_id, "ingest", params=facts)
        tracking.log_dataset(
            self.run_id,
            digest=snapshot.digest,
            path=file,
            n_rows=snapshot.n_rows,
            source_uri=snapshot.source_uri,
            contract=self.contract,
        )

    def validated(self, report: ValidationReport, file: Path) -> None:
        """Put the validation below the run: how many checks did what, and the whole report."""
        outcomes = Counter(check.action for check in report.checks)
        self.tracking.log_step(
            self.run_id,
            "validate",
            metrics={f"checks_{action}": n for action, n in outcomes.items()}
            | {"rows_quarantined": len(report.quarantined)},
            artifacts=[file],
        )

    def tuned(self, tuning: Tuning) -> str:
        """Return the address of the study's plot, once study, trials and plots are below the run."""
        tracking, study = self.tracking, tuning.study
        recipe = {"family": tuning.recipe.family, **tuning.recipe.parameters}
        with _figures(_study_figures(tuning)) as files:
            step = tracking.log_step(
                self.run_id,
                "tune",
                params={"study": study.name, "seed": tuning.recipe.seed, "trials": study.n_trials, **recipe},
                metrics={f"best_{study.metric}": study.best.loss},
                tags={"optuna.study": study.name},
                artifacts=files,
            )
        tracking.log_trials(
            step, [_trial_record(trial, study.name) for trial in study.trials], metric=study.metric
        )
        tracking.log(self.run_id, params={**recipe, "study": study.name, "trial": study.best.number})
        return tracking.artifact_url(step, HISTORY)

    def trained(self, candidate: Candidate, recipe: Recipe) -> None:
        """Put the fit below the run: the loss after each iteration, and the importances."""
        figures: dict[str, Figure] = {}
        if candidate.curve:
            figures["loss.png"] = model_plots.loss_by_iteration(
                {"calibration": candidate.curve}, metric="rmse of the log price", title="Loss by iteration"
            )
        if candidate.importances:
            figures["importances.png"] = model_plots.importances(
                candidate.importances, quantity="gain", title="What the trees split on"
            )
        tracking = self.tracking
        with _figures(figures) as files:
            step = tracking.log_step(
                self.run_id,
                "train",
                params={"family": recipe.family, **recipe.parameters, "n_clusters": recipe.n_clusters},
                metrics={"n_trees": candidate.model.n_trees, "level": candidate.model.level},
                artifacts=files,
            )
        tracking.log_curve(step, "loss", candidate.curve)

    def evaluated(self, evaluation: Evaluation, holdout: Columns, estimate: Vector, report: Path) -> None:
        """Put the evaluation on the run, and below it the plots of the rows that it was measured on."""
        priced = np.flatnonzero(is_price(estimate))
        holdout, estimate = take(holdout, priced), estimate[priced]
        actual = holdout[self.contract.target.column]
        tracking = self.tracking
        with _figures(_holdout_figures(self.contract, holdout, actual, estimate)) as files:
            tracking.log_step(self.run_id, "evaluate", metrics=evaluation.figures, artifacts=[*files, report])
        tracking.log(self.run_id, metrics=evaluation.figures)

    def decided(self, verdict: Verdict, comparison: Comparison | None, report: Path | None) -> None:
        """Put the verdict and its reasons on the run."""
        tracking = self.tracking
        tags = _verdict_tags(verdict)
        reasons = {f"hedonic.reason.{f.check}": f"{f.outcome}: {f.sentence}"[:5000] for f in verdict.reasons}
        tracking.log_step(
            self.run_id,
            "decide",
            metrics={"gain": comparison.gain} if comparison else {},
            tags={**tags, **{name.replace(":", "."): told for name, told in reasons.items()}},
            artifacts=[report] if report else [],
        )
        tracking.log(self.run_id, tags=tags)

    def released(self, release: str, bento: str, version: int) -> None:
        """Put what was released below the run."""
        facts = {"release": release, "bento": bento, "model_version": version}
        self.tracking.log_step(self.run_id, "release", params=facts)

    def revised(self, verdict: Verdict) -> None:
        """Put on the run the verdict that a later step left."""
        self.tracking.log(self.run_id, tags=_verdict_tags(verdict))

    def canaried(self, verdict: Verdict, metrics: Mapping[str, float | None]) -> None:
        """Put the canary below the run, and the verdict that it left on the run."""
        tags = _verdict_tags(verdict)
        tracking = self.tracking
        tracking.log_step(self.run_id, "canary", metrics=metrics, tags=tags)
        tracking.log(self.run_id, tags=tags)

    def finish(self, status: Status) -> None:
        """End the run."""
        self.tracking.finish(self.run_id, status)


def abandon(settings: Settings, dataset: str, flow_run: str) -> None:
    """End the MLflow run of a flow run that failed, if it had begun one."""
    tracking = Tracking(settings, dataset)
    for run_id in tracking.find_flow_runs(flow_run):
        tracking.finish(run_id, "FAILED")


def _verdict_tags(verdict: Verdict) -> dict[str, str]:
    return {"hedonic.verdict": verdict.kind, "hedonic.verdict.summary": verdict.summary[:5000]}


def _trial_record(trial: Trial, study: str) -> TrialRecord:
    return TrialRecord(
        number=trial.number,
        state=trial.state,
        loss=trial.loss if math.isfinite(trial.loss) else None,
        parameters={"family": trial.family, **trial.parameters},
        fold_losses=trial.losses,
        duration_s=trial.seconds,
        tags={"optuna.study": study},
    )


def _study_figures(tuning: Tuning) -> dict[str, Figure]:
    study, metric = tuning.study, tuning.study.metric
    finished = [t for t in study.trials if t.family == tuning.recipe.family and t.state == "COMPLETE"]
    figures = {
        HISTORY: model_plots.study_history(
            [t.loss if math.isfinite(t.loss) else None for t in study.trials],
            [t.family for t in study.trials],
            metric=metric,
            title=f"Study {study.name}",
        )
    }
    if len(finished) > 1 and tuning.recipe.parameters:
        figures["parallel_coordinates.png"] = model_plots.parallel_coordinates(
            [t.parameters for t in finished],
            [t.loss for t in finished],
            metric=metric,
            title=f"Trials of {tuning.recipe.family}",
        )
    if tuning.clusters is not None:
        clusters = tuning.clusters
        figures["clusters.png"] = model_plots.cluster_curves(
            clusters.k, clusters.silhouette, clusters.inertia, chosen=clusters.chosen
        )
    return figures


def _holdout_figures(
    contract: Contract, holdout: Columns, actual: Vector, estimate: Vector
) -> dict[str, Figure]:
    figures = {
        "predicted_against_actual.png": holdout_plots.predicted_against_actual(
            actual, estimate, unit=contract.target.unit, title=f"{contract.title}: holdout"
        )
    }
    bands = next((s for s in contract.slices if s.column == contract.target.column and s.edges), None)
    if bands is not None:
        labels = slice_labels(contract, holdout, actual)[bands.name]
        order = list(dict.fromkeys(labels[np.argsort(actual, kind="stable")].tolist()))
        figures["residuals_by_price_band.png"] = holdout_plots.residuals_by_band(
            actual, estimate, labels, bands=order, title="Relative error by price band"
        )
    place = contract.features.place
    if place is not None:
        figures["residuals_on_map.png"] = holdout_plots.residuals_on_map(
            holdout[place.latitude],
            holdout[place.longitude],
            actual,
            estimate,
            title="Relative error by place",
        )
    return figures


@contextmanager
def _figures(figures: Mapping[str, Figure]) -> Iterator[list[Path]]:
    """Give the figures as files, for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="hedonic-plots-") as folder:
        yield [write_png(figure, Path(folder) / name) for name, figure in figures.items()]

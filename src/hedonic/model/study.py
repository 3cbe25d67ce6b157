"""A finished study as a value: its trials, its best recipe, and how it came to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hedonic.data.contract import Family, Frozen
from hedonic.model.recipe import Recipe


class Trial(Frozen):
    """What one trial tried and what came of it; ``losses`` are those of the folds it finished."""

    number: int
    family: Family
    parameters: dict[str, Any]
    state: str
    losses: tuple[float, ...]
    seconds: float

    @property
    def loss(self) -> float:
        """Return the mean loss over folds; infinite for a trial that was pruned or failed."""
        return float(np.mean(self.losses)) if self.state == "COMPLETE" else math.inf


class Study(Frozen):
    """A finished study: its trials in number order and the baselines scored beside them.

    ``families`` are those that were searched, in the order in which the sampler knew them.
    """

    name: str
    metric: str
    n_trials: int
    cut_by_time: bool
    trials: tuple[Trial, ...]
    baselines: tuple[Trial, ...]
    families: tuple[Family, ...] = ()

    @property
    def best(self) -> Trial:
        """Return the trial of least loss; of equal ones the earliest, baselines last."""
        return min((*self.trials, *self.baselines), key=lambda trial: trial.loss)

    @property
    def leaderboard(self) -> tuple[Trial, ...]:
        """Return the best trial of each family, the best family first."""
        best: dict[str, Trial] = {}
        for trial in (*self.trials, *self.baselines):
            if trial.family not in best or trial.loss < best[trial.family].loss:
                best[trial.family] = trial
        return tuple(sorted(best.values(), key=lambda trial: trial.loss))


class Clusters(Frozen):
    """The elbow and silhouette curves over k, and the k that was chosen."""

    k: tuple[int, ...]
    inertia: tuple[float, ...]
    silhouette: tuple[float, ...]
    chosen: int


class Tuning(Frozen):
    """A study's outcome: the recipe to train, and what it was found with."""

    study: Study
    recipe: Recipe
    clusters: Clusters | None
    split_digest: str

    @property
    def trial(self) -> Trial:
        """Return the trial whose recipe is trained: the best, unless a simpler one was as good."""
        leaders = {trial.family: trial for trial in self.study.leaderboard}
        return leaders[self.recipe.family]

    @property
    def ridge_parameters(self) -> dict[str, Any]:
        """Return the best parameters that the study knows for ridge, the simple model beside."""
        return next(t.parameters for t in self.study.leaderboard if t.family == "ridge")

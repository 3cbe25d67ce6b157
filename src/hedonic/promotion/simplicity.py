"""The simple model beside the study's: ridge is judged in its place where it is as good."""

from __future__ import annotations

from hedonic.data.contract import Frozen
from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.recipe import Recipe
from hedonic.model.study import Tuning
from hedonic.promotion.evaluation import priced_losses
from hedonic.promotion.paired import weigh_simple
from hedonic.promotion.verdict import SIMPLE_SHIPS, Finding

SIMPLE = ("median", "ridge")


class Choice(Frozen):
    """What is judged: a candidate, the tuning with its recipe, and why; no finding where it was not asked."""

    candidate: CandidateName
    tuning: Tuning
    finding: Finding | None = None

    @property
    def sentence(self) -> str:
        """Return what is judged, and why."""
        family = self.candidate.recipe.family
        if self.finding is not None:
            return f"{family} is judged: {self.finding.sentence}"
        why = "it is as simple as ridge" if family in SIMPLE else "the contract asks for no simpler model"
        return f"{family} is judged: {why}"


def choose(
    data: TrainingData, store: CandidateStore, candidate: CandidateName, tuning: Tuning, *, workers: int
) -> Choice:
    """Return the candidate, or ridge in its place where the contract's gate asks and it is as good.

    Ridge is trained as any candidate is. The two are compared on the calibration rows: neither was fitted
    to them, and the holdout is left to the verdict.

    Args:
        data: rows and split.
        store: where the candidate is, and ridge is put.
        candidate: the study's.
        tuning: the study, which knows ridge's best parameters.
        workers: processes.
    """
    # What trains is seconds of imports, which a run that trains nothing is spared.
    from hedonic.model.training import fit_candidate
    from hedonic.model.tuning import make_folds

    gate, family = data.contract.gate, candidate.recipe.family
    if gate.simple is None or family in SIMPLE:
        return Choice(candidate=candidate, tuning=tuning)
    recipe = Recipe(
        family="ridge",
        parameters=tuning.ridge_parameters,
        n_clusters=candidate.recipe.n_clusters,
        seed=candidate.recipe.seed,
    )
    folds = make_folds(data, n_clusters=recipe.n_clusters, seed=recipe.seed, workers=workers)
    ridge = fit_candidate(data.contract, data.columns, data.split, recipe, folds)
    rows = take(data.columns, data.split.calibration)
    actual = rows[data.contract.target.column]
    finding = weigh_simple(
        gate,
        gate.simple.margin,
        priced_losses(actual, store.load(candidate).estimate(rows).estimate),
        priced_losses(actual, ridge.model.estimate(rows).estimate),
        family=family,
        seed=recipe.seed,
    )
    if finding.check != SIMPLE_SHIPS:
        return Choice(candidate=candidate, tuning=tuning, finding=finding)
    name = store.save(ridge, recipe)
    return Choice(candidate=name, tuning=tuning.model_copy(update={"recipe": recipe}), finding=finding)

"""The search for a recipe: an Optuna study over families and their hyper-parameters."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from joblib import Parallel, delayed
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from hedonic.data.contract import Choice, Contract, Family, Range, Search
from hedonic.model.budget import Budget
from hedonic.model.families import make_estimator
from hedonic.model.metrics import loss
from hedonic.model.search_space import default_parameters, searched_families, suggest
from hedonic.model.study import Study, Trial

BATCH = 4
BASELINES: tuple[Family, ...] = ("median", "ridge")

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of the train rows: features learnt on its train part, applied to both.

    Attributes:
        train, valid: feature matrices, shape (n_rows, n_features).
        train_target, valid_target: on the model's scale, shape (n_rows,).
        categorical: positions of coded features.
    """

    train: Matrix
    train_target: Vector
    valid: Matrix
    valid_target: Vector
    categorical: tuple[int, ...]


def open_storage(studies: Path | str) -> BaseStorage:
    """Return the storage that holds every study: a journal, or a database by its URL."""
    if isinstance(studies, str):
        return RDBStorage(studies, engine_kwargs={"pool_pre_ping": True})
    studies.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(studies), lock_obj=JournalFileOpenLock(str(studies))))


def free_name(storage: BaseStorage, wanted: str) -> str:
    """Return ``wanted``, or ``wanted-2`` and so on where a study of that name exists."""
    taken = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    candidates = (wanted if n == 1 else f"{wanted}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in candidates if name not in taken)


def study_number(storage: BaseStorage, name: str) -> int:
    """Return the number under which Optuna's dashboard shows a study."""
    return storage.get_study_id_from_name(name)


def tune(
    contract: Contract,
    folds: Sequence[Fold],
    *,
    budget: Budget,
    seed: int,
    storage: BaseStorage | None = None,
    name: str = "study",
    attributes: Mapping[str, str] | None = None,
    workers: int = 1,
    on_trial: Callable[[Trial], None] | None = None,
) -> Study:
    """Return the study of the contract's families on the folds.

    Trials are asked in batches of four whatever the number of workers and told in number order,
    fold by fold, so that the outcome depends on the seed alone. The storage is shown each batch as
    it is finished, and nothing is read from it.

    Args:
        contract: metric, families, spaces and pruner.
        folds: of train only.
        budget: trials, and optionally seconds after which no batch is begun.
        seed: of the sampler and of every estimator.
        storage: of Optuna; in memory by default.
        name: the study's.
        attributes: put on the study and on every trial, such as links to MLflow and Prefect.
        workers: processes; one thread each.
        on_trial: called with each finished trial, in number order.
    """
    optuna.logging.disable_default_handler()  # Prefect's log view has what it says
    search, links = budget.narrow(contract), dict(attributes or {})
    study = _create(search, budget, seed, links)
    shown = _shown(study, storage, name)
    began, cut, baselines, done = time.monotonic(), False, [], list[Trial]()
    with Parallel(n_jobs=workers, backend="loky" if workers > 1 else "sequential", mmap_mode="r") as pool:
        scorer = _Scorer(pool, contract, folds, seed)
        for family in BASELINES:
            baselines.append(scorer.score_baseline(family))
        while len(done) < budget.trials:
            if budget.time_s is not None and time.monotonic() - began > budget.time_s and done:
                cut = True
                break
            asked = [study.ask() for _ in range(min(BATCH, budget.trials - len(done)))]
            scorer.score_batch(study, asked, search, links)
            for frozen in study.get_trials()[len(done) : len(done) + len(asked)]:
                shown.add_trial(frozen)
                done.append(_finished(frozen))
                if on_trial:
                    on_trial(done[-1])
    return Study(
        name=name,
        metric=search.metric,
        n_trials=len(done),
        cut_by_time=cut,
        trials=tuple(done),
        baselines=tuple(baselines),
        families=tuple(search.families),
    )


def _create(search: Search, budget: Budget, seed: int, links: Mapping[str, str]) -> optuna.Study:
    """Return the study that is asked and told.

    It is in memory and its name is constant: Hyperband draws a trial's bracket from the study's
    name, and a name that carries the day would make the outcome depend on it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=2 * BATCH, multivariate=True, group=True
        )
        study = optuna.create_study(
            study_name="study",
            sampler=sampler,
            pruner=make_pruner(search),
            direction="minimize",
        )
        study.set_metric_names([search.metric])
    for key, value in links.items():
        study.set_user_attr(key, value)
    # Every family is tried once with its defaults before the sampler chooses.
    for family in searched_families(search)[: budget.trials]:
        study.enqueue_trial(
            {"family": family, **default_parameters(family, search)}, user_attrs={"default": True}
        )
    return study


def _shown(study: optuna.Study, storage: BaseStorage | None, name: str) -> optuna.Study:
    """Return the study under its own name in the storage, to which finished trials are copied."""
    shown = optuna.create_study(study_name=name, storage=storage, direction=study.direction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shown.set_metric_names(study.metric_names or [])
    for key, value in study.user_attrs.items():
        shown.set_user_attr(key, value)
    return shown


def make_pruner(search: Search) -> optuna.pruners.BasePruner:
    """Return the contract's pruner; a step is a fold."""
    match search.pruner:
        case "none":
            return optuna.pruners.NopPruner()
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=BATCH, n_warmup_steps=0)
        case "successive_halving":
            return optuna.pruners.SuccessiveHalvingPruner(reduction_factor=2)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(max_resource=search.folds, reduction_factor=2)
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1)


@dataclass(frozen=True, slots=True)
class _Scorer:
    pool: Parallel
    contract: Contract
    folds: Sequence[Fold]
    seed: int

    def score_baseline(self, family: Family) -> Trial:
        """Return the naive family's trial, outside the study."""
        space = self.contract.search.families.get(family, {})
        parameters = {k: v for k, v in space.items() if not isinstance(v, (Range, Choice))}
        jobs = [self._job(fold, family, parameters) for fold in self.folds]
        scores = self.pool(jobs)
        return Trial(
            number=-1,
            family=family,
            parameters=parameters,
            state="COMPLETE",
            losses=tuple(score for score, _ in scores),
            seconds=sum(seconds for _, seconds in scores),
        )

    def score_batch(
        self, study: optuna.Study, asked: list[optuna.Trial], search: Search, links: Mapping[str, str]
    ) -> None:
        """Score the batch fold by fold and tell the study, in number order."""
        recipes = [suggest(trial, search) for trial in asked]
        losses: list[list[float]] = [[] for _ in asked]
        seconds = [0.0 for _ in asked]
        alive = list(range(len(asked)))
        for step, fold in enumerate(self.folds):
            scores = self.pool([self._job(fold, *recipes[n]) for n in alive])
            for n, (score, spent) in zip(alive, scores, strict=True):
                losses[n].append(score)
                seconds[n] += spent
                asked[n].report(score if search.pruner == "wilcoxon" else float(np.mean(losses[n])), step)
            if step + 1 < len(self.folds):
                alive = [n for n in alive if not asked[n].should_prune()]
        for n, trial in enumerate(asked):
            family, parameters = recipes[n]
            facts = {"family": family, "parameters": parameters, "losses": losses[n], "seconds": seconds[n]}
            for key, value in {**links, **facts}.items():
                trial.set_user_attr(key, value)
            if n in alive:
                study.tell(trial, float(np.mean(losses[n])))
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _job(self, fold: Fold, family: Family, parameters: Mapping[str, Any]) -> Any:
        search = self.contract.search
        log = self.contract.target.scale == "log"
        return delayed(score_fold)(fold, family, dict(parameters), search.metric, log, self.seed)


def _finished(frozen: optuna.trial.FrozenTrial) -> Trial:
    facts = frozen.user_attrs
    return Trial(
        number=frozen.number,
        family=facts["family"],
        parameters=facts["parameters"],
        state=frozen.state.name,
        losses=tuple(facts["losses"]),
        seconds=facts["seconds"],
    )


def score_fold(
    fold: Fold,
    family: Family,
    parameters: dict[str, Any],
    metric: str,
    log: bool,
    seed: int,
) -> tuple[float, float]:
    """Return the loss on the fold's valid part, and the CPU seconds that it took."""
    began = time.process_time()
    estimator = make_estimator(family, parameters, categorical=fold.categorical, seed=seed)
    estimate = fit_quietly(estimator, fold.train, fold.train_target).predict(fold.valid)
    actual = fold.valid_target
    if log:
        actual, estimate = np.exp(actual), np.exp(estimate)
    return loss(metric, actual, estimate), time.process_time() - began


def fit_quietly(estimator: Any, matrix: Matrix, target: Vector, **options: Any) -> Any:
    """Return the estimator fitted; that a network stops at its iteration limit is intended.

    So is that its batches are no larger than a small table.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger", UserWarning)
        return estimator.fit(matrix, target, **options)

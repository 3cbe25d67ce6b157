"""Rebuilding: the steps of a training run on recorded rows, in a home that nothing else sees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.training_data import open_training_data
from hedonic.lineage import code_digest, lock_digest, step_sources
from hedonic.model.budget import Budget
from hedonic.model.candidate import CandidateStore
from hedonic.promotion.release import write_release
from hedonic.provenance.surroundings import FLOW
from hedonic.settings import Settings

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a release is rebuilt from, all by its record.

    Attributes:
        as_of: the day that the validation was about.
        rows: the snapshot's file.
    """

    contract: Contract
    snapshot: Snapshot
    rows: Path
    as_of: date
    budget: Budget
    seed: int


@contextmanager
def scratch_home(settings: Settings) -> Iterator[Settings]:
    """Give the settings of a home of its own below HEDONIC_HOME, which is gone in the end.

    History, store and books of the real home are not named by them.
    """
    below = settings.home / "reproductions"
    below.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=below, prefix="rebuilding-") as folder:
        yield settings.model_copy(update={"home": Path(folder), "history_url": None, "store_url": None})


def rebuild(settings: Settings, recorded: Recorded, tell: Tell) -> Path:
    """Return the folder of the release that the record gives with the code, lock and toolchain of now.

    Args:
        settings: of a scratch home.
        recorded: what it is made of.
        tell: is told what each step came to.

    Raises:
        HedonicError: a step fails now that did not then; the message says which.
    """
    from hedonic.data.validation import validate
    from hedonic.model.training import fit_candidate
    from hedonic.model.tuning import make_folds, search_recipe
    from hedonic.promotion.making import make_content
    from hedonic.promotion.simplicity import choose
    from hedonic.serving.predictor import Predictor

    contract, store = recorded.contract, SnapshotStore(settings.snapshots)
    _lend(recorded, store)
    validated = validate(
        contract,
        store=store,
        snapshot=recorded.snapshot,
        gx_folder=settings.gx,
        docs_folder=settings.data_docs,
        report_folder=settings.validations,
        as_of=recorded.as_of,
        run_name=f"reproduce {contract.name}",
    )
    tell(f"validated: {len(validated.quarantined)} rows set aside")
    data = open_training_data(settings, contract, validated)
    tuning = search_recipe(
        data,
        budget=recorded.budget,
        seed=recorded.seed,
        studies=settings.home / "optuna" / "studies.journal",  # never where studies are shared
        name=f"{contract.name}-reproduced",
        attributes={},
        workers=settings.workers,
    )
    tell(f"tuned: {tuning.recipe.family} is best of {tuning.study.n_trials} trials")
    recipe = tuning.recipe
    folds = make_folds(data, n_clusters=recipe.n_clusters, seed=recipe.seed, workers=settings.workers)
    candidates = CandidateStore(settings.candidates)
    name = candidates.save(fit_candidate(contract, data.columns, data.split, recipe, folds), recipe)
    tell(f"trained: candidate {name.digest[:12]}")
    choice = choose(data, candidates, name, tuning, workers=settings.workers)
    content = make_content(
        data,
        candidates.load(choice.candidate),
        choice.candidate.recipe,
        tuning.study,
        snapshot=recorded.snapshot.digest,
        lock=lock_digest(settings.root),
        code=code_digest(settings.root, step_sources(settings.root, FLOW)),
        answers=lambda model, instances: Predictor(model).predict(instances),
    )
    return write_release(settings.releases, content)


def _lend(recorded: Recorded, store: SnapshotStore) -> None:
    """Let the scratch home have the rows without a copy of them."""
    folder = store.folder(recorded.snapshot)
    folder.mkdir(parents=True)
    (folder / recorded.rows.name).symlink_to(recorded.rows)

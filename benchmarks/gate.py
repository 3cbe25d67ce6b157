"""How often the gate promotes a model that is no better, and one that is: A/A and power, on real data.

Run it as ``python -m benchmarks.gate``; it exits 1 where a data set is not as stated.

On each embedded data set, for several random splits, the contract's
boosting recipe (the middle of its space) is fitted with many seeds. Every ordered pair of one split's models
is a comparison that ought not to promote: the two differ by their seed alone. A true improvement is each
model against another seed's with its last trees left out: as many as cost a stated gain on average over all
pairs. The verdict is ``decide`` itself with each contract's policy, slices included; its absolute limits are
left out, for they are not about the comparison.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import Settings, find_root

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from hedonic.data.contract import Contract
    from hedonic.data.gate_policy import GatePolicy

    Losses = npt.NDArray[np.float64]

DATASETS = ("king_county", "california")
SPLITS, SEEDS = 3, 14
STATED_GAIN, STATED_POWER = 0.003, 0.9
SHORTENED = (300, 250, 200, 175, 150, 125, 100, 75, 50)
"""Numbers of trees, of which the largest that costs the stated gain stands for the worse model."""
RIVALS = 3
"""Worse models that each model is held against."""


@dataclass(frozen=True, slots=True)
class Split:
    """The models of one split: their losses on its holdout by number of trees, and its slices.

    Attributes:
        losses: by number of trees, of each seed's model, shape (n_seeds, n_holdout).
        slices: the label of each row, by slice.
    """

    losses: Mapping[int, Losses]
    slices: Mapping[str, npt.NDArray[Any]]

    @property
    def full(self) -> Losses:
        """Return the losses of the whole models."""
        return self.losses[max(self.losses)]


@dataclass(frozen=True, slots=True)
class Rates:
    """What share of comparisons was promoted, of how many."""

    title: str
    n_models: int
    n_aa: int
    aa: float
    stated_aa: float
    bare: float
    stated_bare: float
    n_improved: int
    power: float
    true_gain: float
    n_trees: int


def fit_split(contract: Contract, frame: pd.DataFrame, number: int, seeds: int) -> Split:
    """Return the models of one random split of the frame."""
    import numpy as np

    from hedonic.data.contract import SplitPolicy
    from hedonic.data.split import split_rows
    from hedonic.data.table import columns_from_frame, take
    from hedonic.model.families import make_estimator
    from hedonic.model.feature_fitting import fit_features
    from hedonic.model.search_space import default_parameters
    from hedonic.model.training import target_of
    from hedonic.promotion.evaluation import slice_labels

    policy = SplitPolicy(method="random", holdout=contract.split.holdout, seed=number)
    columns = columns_from_frame(contract, frame)
    rows = split_rows(contract.model_copy(update={"split": policy}), frame)
    train, holdout = take(columns, rows.train), take(columns, rows.holdout)
    clusters = contract.features.place.min_clusters if contract.features.place else None
    features = fit_features(contract, train, target_of(contract, train), n_clusters=clusters, seed=0)
    matrix, actual = features.map.apply(holdout), target_of(contract, holdout)
    space, middle = contract.search.families["boosting"], default_parameters("boosting", contract.search)
    recipe = {name: middle.get(f"boosting.{name}", value) for name, value in space.items()}
    lengths = [n for n in SHORTENED if n < recipe["n_estimators"]] + [recipe["n_estimators"]]
    losses: dict[int, list[Losses]] = {n: [] for n in lengths}
    for seed in range(seeds):
        model: Any = make_estimator("boosting", recipe, categorical=features.map.categorical, seed=seed)
        model.fit(features.matrix, target_of(contract, train))
        for n in lengths:
            losses[n].append(np.abs(model.predict(matrix, num_iteration=n) - actual))
    labels = slice_labels(contract, holdout, holdout[contract.target.column])
    return Split({n: np.array(each) for n, each in losses.items()}, labels)


def rates(title: str, policy: GatePolicy, splits: Sequence[Split]) -> Rates:
    """Return how often the policy promotes among the models of each split."""
    from hedonic.promotion.paired import confidence_of_a_look

    bare = policy.model_copy(update={"margin": 0.0, "max_looks": None})
    aa = [(split, *pair) for split in splits for pair in _pairs(split.full)]
    n_trees, true_gain = _shortened(splits)
    improved = [
        (split, split.full[n], split.losses[n_trees][(n + step) % len(split.full)])
        for split in splits
        for n in range(len(split.full))
        for step in range(1, min(RIVALS, len(split.full) - 1) + 1)
    ]
    return Rates(
        title=title,
        n_models=sum(len(split.full) for split in splits),
        n_aa=len(aa),
        aa=_share(policy, aa),
        stated_aa=1.0 - confidence_of_a_look(policy),
        bare=_share(bare, aa, slices=False),
        stated_bare=1.0 - bare.confidence,
        n_improved=len(improved),
        power=_share(policy, improved),
        true_gain=true_gain,
        n_trees=n_trees,
    )


def _pairs(losses: Losses) -> Iterator[tuple[Losses, Losses]]:
    yield from itertools.permutations(losses, 2)


def _shortened(splits: Sequence[Split]) -> tuple[int, float]:
    """Return the largest number of trees that costs the stated gain, and the gain that it costs."""
    import numpy as np

    full = float(np.mean([split.full.mean() for split in splits]))
    lengths = sorted(splits[0].losses, reverse=True)[1:]
    gains = {n: float(np.mean([split.losses[n].mean() for split in splits])) - full for n in lengths}
    n_trees = next((n for n in lengths if gains[n] >= STATED_GAIN), lengths[-1])
    return n_trees, gains[n_trees]


def _share(
    policy: GatePolicy, pairs: Sequence[tuple[Split, Losses, Losses]], *, slices: bool = True
) -> float:
    """Return which share of candidates is promoted, each against its champion."""
    from hedonic.promotion.gate import PairedScores, decide

    policy = policy.model_copy(update={"limits": ()})
    promoted = 0
    for seed, (split, candidate, champion) in enumerate(pairs):
        scores = PairedScores(candidate, champion, split.slices if slices else {})
        promoted += decide(policy, {}, scores, champion="champion", seed=seed).promoted
    return promoted / len(pairs)


def measure(root: Path, dataset: str, *, splits: int = SPLITS, seeds: int = SEEDS) -> Rates:
    """Return the rates on one embedded data set."""
    from joblib import Parallel, delayed

    from hedonic.data.contract_file import load_contract
    from hedonic.data.snapshot import SnapshotStore

    contract = load_contract(root / "expectations" / f"{dataset}.yaml")
    with tempfile.TemporaryDirectory(prefix="hedonic-gate-") as home:
        settings = Settings(root=root, home=Path(home))
        store = SnapshotStore(settings.snapshots)
        frame = store.frame(store.ingest(contract, root))
        jobs = (delayed(fit_split)(contract, frame, number, seeds) for number in range(splits))
        fitted = list(Parallel(n_jobs=settings.workers)(jobs))
    return rates(contract.title, contract.gate, fitted)


def faults(measured: Sequence[Rates]) -> tuple[str, ...]:
    """Return where a data set is not as stated, a sentence each: every one against its own rates."""
    return tuple(
        f"{each.title}: {what} {100 * found:.2f} % of comparisons, stated {bound} {100 * stated:.2f} %"
        for each in measured
        for what, found, bound, stated, kept in (
            ("no better and promoted", each.aa, "at most", each.stated_aa, each.aa <= each.stated_aa),
            ("better and promoted", each.power, "at least", STATED_POWER, each.power >= STATED_POWER),
        )
        if not kept
    )


def summary(measured: Sequence[Rates]) -> dict[str, float]:
    """Return the figures of the worst data set; of A/A, of the one nearest to what it states or beyond."""
    worst = max(measured, key=lambda each: each.aa - each.stated_aa)
    return {
        "aa_promotion_rate": worst.aa,
        "stated_aa_rate": worst.stated_aa,
        "power": min(each.power for each in measured),
        "stated_power": STATED_POWER,
    }


def main() -> int:
    """Measure both data sets, print them, and return 1 where one is not as stated.

    With ``--json`` the last line of the output is one JSON object.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    asked = parser.parse_args()
    measured = [measure(find_root(Path.cwd()), dataset) for dataset in DATASETS]
    print(
        "| data set | models | A/A comparisons | promoted % | stated % | test alone, margin 0 % | stated % |"
    )
    print("|---|---|---|---|---|---|---|")
    for each in measured:
        print(
            f"| {each.title} | {each.n_models} | {each.n_aa:,} | {100 * each.aa:.2f} "
            f"| {100 * each.stated_aa:.2f} | {100 * each.bare:.2f} | {100 * each.stated_bare:.2f} |"
        )
    print("\n| data set | true gain | comparisons | promoted % | stated % |")
    print("|---|---|---|---|---|")
    for each in measured:
        print(
            f"| {each.title} | {each.true_gain:.4f} ({each.n_trees} trees to all) | {each.n_improved} "
            f"| {100 * each.power:.1f} | {100 * STATED_POWER:.0f} |"
        )
    found = faults(measured)
    for fault in found:
        print(fault, file=sys.stderr)
    if asked.json:
        print(json.dumps(summary(measured)))
    return 1 if found else 0


if __name__ == "__main__":
    os.environ.update(NUMERIC_ENVIRONMENT | QUIET_ENVIRONMENT)
    sys.exit(main())

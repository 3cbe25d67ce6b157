"""The portable model: everything that answers, in files that need no pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract, dump_contract, parse_contract
from hedonic.data.table import Columns, n_rows
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.features import FeatureMap
from hedonic.model.intervals import Conformal
from hedonic.model.plain_files import UNREADABLE, read_json
from hedonic.model.scorers import Scorer, TreeScorer, load_scorer

FORMAT_VERSION = 1

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimates:
    """Estimates in the target's unit, with intervals that contain them.

    Attributes:
        estimate: shape (n_rows,).
        interval_80, interval_90: low and high, shape (n_rows, 2).
    """

    estimate: Vector
    interval_80: npt.NDArray[np.float64]
    interval_90: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PortableModel:
    """Features, point and width scorers, and conformal numbers.

    Attributes:
        level: added to the point scorer's answer, on the model's scale, so that the latest calibration
            sales have a median ratio of 1 (the level of appraisal).
        training_ranges: of each numeric input, the least and greatest value in training.
        valuation_date_default: the last day of training, as days since 1970-01-01; None without time.
    """

    contract: Contract
    family: str
    features: FeatureMap
    point: Scorer
    width: Scorer
    conformal: Conformal
    level: float
    training_ranges: dict[str, tuple[float, float]]
    valuation_date_default: float | None

    def estimate(self, columns: Columns) -> Estimates:
        """Return estimates for rows given as canonical columns.

        A missing valuation date stands for the last day of training.

        Raises:
            HedonicError: an estimate would not be a finite number.
        """
        matrix = self.features.apply(self.dated(columns))
        with np.errstate(over="ignore"):
            point, width = self.point.predict(matrix) + self.level, self.width.predict(matrix)
            values = self.conformal.around(point, width)
            if self.contract.target.scale == "log":
                np.exp(values, out=values)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise HedonicError(f"{self.contract.name}: the estimate of row {row} is not a finite number")
        return Estimates(values[:, 0], values[:, 1:3], values[:, 3:5])

    def dated(self, columns: Columns) -> Columns:
        """Return the columns with the last day of training for a valuation date that is missing."""
        name, default = self.contract.time_column, self.valuation_date_default
        if name is None or default is None:
            return columns
        days = columns.get(name)
        if days is None:
            return {**columns, name: np.full(n_rows(columns), default)}
        missing = np.isnan(days)
        return {**columns, name: np.where(missing, default, days)} if missing.any() else columns

    @property
    def n_trees(self) -> int:
        """Return the number of trees that answer for the point; 0 where the family has none."""
        return self.point.booster.n_trees if isinstance(self.point, TreeScorer) else 0

    @property
    def max_leaves(self) -> int:
        """Return the most leaves of a tree that answers for the point; 0 where there is none."""
        if not isinstance(self.point, TreeScorer):
            return 0
        lines = self.point.booster.text.splitlines()
        return max(int(line.removeprefix("num_leaves=")) for line in lines if line.startswith("num_leaves="))

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``, which is made; the same model gives the same bytes."""
        for part, writer in (("features", self.features), ("point", self.point), ("width", self.width)):
            (folder / part).mkdir(parents=True)
            writer.save(folder / part)
        (folder / "contract.json").write_text(dump_contract(self.contract), encoding="utf-8")
        facts = {
            "format_version": FORMAT_VERSION,
            "family": self.family,
            "conformal": {
                "q_80": self.conformal.q_80,
                "q_90": self.conformal.q_90,
                "epsilon": self.conformal.epsilon,
            },
            "level": self.level,
            "training_ranges": self.training_ranges,
            "valuation_date_default": self.valuation_date_default,
        }
        (folder / "model.json").write_text(
            json.dumps(facts, sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> PortableModel:
        """Return the model in ``folder``.

        Raises:
            ReleaseRefused: its format is newer than this Hedonic, or a part cannot be read.
        """
        try:
            facts = read_json(folder / "model.json")
            if facts["format_version"] > FORMAT_VERSION:
                raise ReleaseRefused(
                    f"{folder.name}: model format {facts['format_version']} is newer than "
                    f"{FORMAT_VERSION}. Upgrade Hedonic."
                )
            contract = parse_contract((folder / "contract.json").read_text(encoding="utf-8"))
            model = cls(
                contract=contract,
                family=facts["family"],
                features=FeatureMap.load(folder / "features", contract),
                point=load_scorer(folder / "point"),
                width=load_scorer(folder / "width"),
                conformal=Conformal(**facts["conformal"]),
                level=facts["level"],
                training_ranges={k: (low, high) for k, (low, high) in facts["training_ranges"].items()},
                valuation_date_default=facts["valuation_date_default"],
            )
            for scorer in (model.point, model.width):
                n_features = scorer.booster.n_features if isinstance(scorer, TreeScorer) else None
                if n_features not in (None, len(model.features.names)):
                    raise ValueError(f"{n_features} features in the trees, {len(model.features.names)} named")
            return model
        except ReleaseRefused:
            raise
        except (*UNREADABLE, HedonicError) as err:
            raise ReleaseRefused(f"{folder.name}: the model cannot be read: {err}") from err


def folder_digest(folder: Path) -> str:
    """Return the sha256 over the sorted relative paths and digests of every file below ``folder``."""
    lines = [
        f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

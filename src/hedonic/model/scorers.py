"""What a fitted family leaves behind to be applied: a scorer of numpy arrays, in files without pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hedonic.errors import ReleaseRefused
from hedonic.model.booster import Booster
from hedonic.model.plain_files import read_array, read_json

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


class Scorer(Protocol):
    """Anything that turns a feature matrix into estimates on the model's scale."""

    def predict(self, matrix: Matrix) -> Vector:
        """Return estimates of shape (n_rows,) for a matrix of shape (n_rows, n_features)."""

    def contributions(self, matrix: Matrix) -> Matrix | None:
        """Return what each feature adds, shape (n_rows, n_features + 1); the base is last.

        A row's sum is its estimate. None where a family has no exact contributions.
        """

    def save(self, folder: Path) -> None:
        """Write the scorer into an existing folder."""


@dataclass(frozen=True, slots=True)
class ConstantScorer:
    """The same estimate for every row."""

    value: float

    def predict(self, matrix: Matrix) -> Vector:
        """Return the constant once a row."""
        return np.full(len(matrix), self.value)

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return nothing for every feature: the base is all."""
        parts = np.zeros((len(matrix), matrix.shape[1] + 1))
        parts[:, -1] = self.value
        return parts

    def save(self, folder: Path) -> None:
        """Write ``scorer.json``."""
        _write_json(folder, {"kind": "constant", "value": self.value})


@dataclass(frozen=True, slots=True)
class Design:
    """Preprocessing of linear and network families: fill, standardise, clip, one-hot.

    Attributes:
        numbers: positions of the numeric features, shape (p,).
        fill: what replaces a missing value, shape (p,).
        mean, scale: standardisation, shape (p,).
        clip: bound on the absolute standardised value.
        categories: positions of the coded features, and for each its known codes.
    """

    numbers: npt.NDArray[np.int64]
    fill: Vector
    mean: Vector
    scale: Vector
    clip: float
    categories: tuple[int, ...]
    codes: tuple[Vector, ...]

    def apply(self, matrix: Matrix) -> Matrix:
        """Return the design matrix; a code never seen is all zeros, a missing one a code of its own."""
        values = matrix[:, self.numbers]
        values = np.where(np.isnan(values), self.fill, values)
        parts = [np.clip((values - self.mean) / self.scale, -self.clip, self.clip)]
        for position, codes in zip(self.categories, self.codes, strict=True):
            column = matrix[:, position, None]
            parts.append(((column == codes) | (np.isnan(column) & np.isnan(codes))).astype(np.float64))
        return np.hstack(parts)

    def save(self, folder: Path) -> None:
        """Write ``design.json`` and ``design.npy``."""
        np.save(folder / "design.npy", np.vstack([self.numbers, self.fill, self.mean, self.scale]))
        codes = [[None if np.isnan(code) else float(code) for code in known] for known in self.codes]
        _write_json(
            folder,
            {"clip": self.clip, "categories": list(self.categories), "codes": codes},
            name="design.json",
        )

    @classmethod
    def load(cls, folder: Path) -> Design:
        """Return the design in ``folder``."""
        numbers, fill, mean, scale = read_array(folder / "design.npy")
        facts = read_json(folder / "design.json")
        codes = [[np.nan if code is None else code for code in known] for known in facts["codes"]]
        return cls(
            numbers=numbers.astype(np.int64),
            fill=fill,
            mean=mean,
            scale=scale,
            clip=facts["clip"],
            categories=tuple(facts["categories"]),
            codes=tuple(np.array(known, dtype=np.float64) for known in codes),
        )


@dataclass(frozen=True, slots=True)
class NetworkScorer:
    """Dense layers with rectified units between them; one layer is a linear model.

    Attributes:
        weights: of each layer, shape (n_in, n_out); the last has one output.
        biases: of each layer, shape (n_out,).
    """

    design: Design
    weights: tuple[Matrix, ...]
    biases: tuple[Vector, ...]

    def predict(self, matrix: Matrix) -> Vector:
        """Return the last layer's output; row by row, so that a batch equals its singles."""
        # Side by side in memory as a row alone is: BLAS adds up strided numbers in another order.
        rows = np.ascontiguousarray(self.design.apply(matrix))
        return np.array([self._forward(row) for row in rows], dtype=np.float64)

    def contributions(self, matrix: Matrix) -> Matrix | None:
        """Return what each feature of a linear model adds; None for more layers than one.

        Numbers are measured from their mean in training, a category from the plain mean of its codes.
        """
        if len(self.weights) > 1:
            return None
        design, weights = self.design, self.weights[0][:, 0]
        parts = np.zeros((len(matrix), matrix.shape[1] + 1))
        terms = design.apply(matrix) * weights
        n = len(design.numbers)
        parts[:, design.numbers], parts[:, -1] = terms[:, :n], self.biases[0][0]
        for position, codes in zip(design.categories, design.codes, strict=True):
            of_codes = slice(n, n + len(codes))
            usual = weights[of_codes].mean()
            parts[:, position] = terms[:, of_codes].sum(axis=1) - usual
            parts[:, -1] += usual
            n += len(codes)
        return parts

    def _forward(self, row: Vector) -> float:
        layers = list(zip(self.weights, self.biases, strict=True))
        for weights, biases in layers[:-1]:
            row = np.maximum(row @ weights + biases, 0.0)
        weights, biases = layers[-1]
        return float((row @ weights + biases)[0])

    def save(self, folder: Path) -> None:
        """Write ``scorer.json``, the design and ``layer_<n>_weights.npy``, ``layer_<n>_biases.npy``."""
        self.design.save(folder)
        for n, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            np.save(folder / f"layer_{n}_weights.npy", np.ascontiguousarray(weights))
            np.save(folder / f"layer_{n}_biases.npy", biases)
        _write_json(folder, {"kind": "network", "n_layers": len(self.weights)})

    @classmethod
    def load(cls, folder: Path, n_layers: int) -> NetworkScorer:
        """Return the network in ``folder``."""
        load = [
            (
                read_array(folder / f"layer_{n}_weights.npy"),
                read_array(folder / f"layer_{n}_biases.npy"),
            )
            for n in range(n_layers)
        ]
        return cls(Design.load(folder), tuple(w for w, _ in load), tuple(b for _, b in load))


@dataclass(frozen=True, slots=True)
class TreeScorer:
    """LightGBM's trees: boosting, or a random forest (``boosting=rf``)."""

    booster: Booster

    def predict(self, matrix: Matrix) -> Vector:
        """Return the trees' raw scores."""
        return self.booster.predict(matrix)

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return TreeSHAP's contributions; the base is the trees' mean over training."""
        return self.booster.contributions(matrix)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and LightGBM's text."""
        (folder / "trees.txt").write_text(self.booster.text, encoding="utf-8")
        _write_json(folder, {"kind": "trees"})


def load_scorer(folder: Path) -> Scorer:
    """Return the scorer in ``folder``.

    Raises:
        ReleaseRefused: its kind is not one that this Hedonic knows.
    """
    facts = read_json(folder / "scorer.json")
    match facts["kind"]:
        case "constant":
            return ConstantScorer(float(facts["value"]))
        case "network":
            return NetworkScorer.load(folder, int(facts["n_layers"]))
        case "trees":
            return TreeScorer(Booster.from_text((folder / "trees.txt").read_text(encoding="utf-8")))
        case kind:
            raise ReleaseRefused(f"{folder}: unknown kind of scorer {kind!r}. Upgrade Hedonic.")


def _write_json(folder: Path, facts: dict[str, object], name: str = "scorer.json") -> None:
    (folder / name).write_text(json.dumps(facts, sort_keys=True, indent=1) + "\n", encoding="utf-8")

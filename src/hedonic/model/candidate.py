"""Candidates on disk: each a folder named by the digest of its portable model."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.recipe import Recipe

if TYPE_CHECKING:
    from hedonic.model.training import Candidate


class CandidateName(Frozen):
    """What names a candidate: its data set, the digest of its model, and the recipe it was made by."""

    dataset: str
    digest: str
    recipe: Recipe
    n_trees: int
    max_leaves: int


class FitReport(Frozen):
    """What fitting showed: the loss after each iteration, and gain by feature."""

    curve: tuple[float, ...]
    importances: dict[str, float]


@dataclass(frozen=True, slots=True)
class CandidateStore:
    """The candidates below one folder: ``<data set>/<digest>/{model/, fit.json}``."""

    root: Path

    def folder(self, name: CandidateName) -> Path:
        """Return the folder of the candidate."""
        return self.root / name.dataset / name.digest

    def save(self, candidate: Candidate, recipe: Recipe) -> CandidateName:
        """Return the name of the candidate, written whole unless it is there already.

        Raises:
            HedonicError: it cannot be written.
        """
        folder = self.root / candidate.model.contract.name
        try:
            return self._write(candidate, recipe, folder)
        except OSError as err:
            # Of a full disk numpy says no more than "24480 requested and 22512 written".
            raise HedonicError(f"{folder}: cannot be written: {err}. Is the disk full?") from err

    def _write(self, candidate: Candidate, recipe: Recipe, folder: Path) -> CandidateName:
        dataset = candidate.model.contract.name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".candidate-") as scratch:
            whole = Path(scratch) / "whole"
            candidate.model.save(whole / "model")
            report = FitReport(curve=candidate.curve, importances=candidate.importances)
            (whole / "fit.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
            name = CandidateName(
                dataset=dataset,
                digest=folder_digest(whole / "model"),
                recipe=recipe,
                n_trees=candidate.model.n_trees,
                max_leaves=candidate.model.max_leaves,
            )
            if not self.folder(name).exists():
                os.replace(whole, self.folder(name))
        return name

    def load(self, name: CandidateName) -> PortableModel:
        """Return the candidate's model.

        Raises:
            HedonicError: it is gone, or its files are not those that its digest names.
        """
        folder = self.folder(name) / "model"
        if not folder.is_dir():
            raise HedonicError(
                f"candidate {name.digest[:16]} of {name.dataset} is gone from {self.root}. "
                "Run again from the step 'train'."
            )
        if folder_digest(folder) != name.digest:
            raise HedonicError(
                f"candidate {name.digest[:16]} of {name.dataset} was altered. Delete {folder}."
            )
        return PortableModel.load(folder)

    def report(self, name: CandidateName) -> FitReport:
        """Return what fitting the candidate showed."""
        content = (self.folder(name) / "fit.json").read_text(encoding="utf-8")
        return FitReport.model_validate(json.loads(content))

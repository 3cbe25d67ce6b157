"""Release in, numbers out: the one function that answers, with numpy and LightGBM's C library alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns, day
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import CONTRACT, MODEL, ReleaseRecord, read_golden, read_record, verify_release
from hedonic.model.plain_files import UNREADABLE
from hedonic.serving.explanation import Explainer
from hedonic.serving.golden import TOLERANCE, differences
from hedonic.serving.joint_answers import JointAnswers
from hedonic.serving.schema import VALUATION_DATE, RequestSchema, Rows

GRADES = (("A", 0.4), ("B", 0.7), ("C", 1.1))
"""Confidence grades by the width of the 90 % interval relative to the estimate: A below 0.4 (about
20 % to either side), B below 0.7, C below 1.1, D from there on."""

_GRADED = tuple((limit, grade, f"under {limit:.0%}") for grade, limit in GRADES)
_WIDEST = ("D", f"{GRADES[-1][1]:.0%} or more")

Prediction = dict[str, Any]


class Answers(Protocol):
    """What a model answers: arrays over rows, in the target's unit."""

    @property
    def estimate(self) -> npt.NDArray[np.float64]:
        """Return estimates, shape (n_rows,)."""

    @property
    def interval_80(self) -> npt.NDArray[np.float64]:
        """Return low and high, shape (n_rows, 2)."""

    @property
    def interval_90(self) -> npt.NDArray[np.float64]:
        """Return low and high, shape (n_rows, 2)."""


class PriceModel(Protocol):
    """What a predictor needs of a model; ``PortableModel`` is one."""

    @property
    def contract(self) -> Contract:
        """Return the contract that the model was made for."""

    @property
    def training_ranges(self) -> Mapping[str, tuple[float, float]]:
        """Return least and greatest value in training, by numeric input."""

    @property
    def valuation_date_default(self) -> float | None:
        """Return the last day of training as days since 1970-01-01."""

    def estimate(self, columns: Columns) -> Answers:
        """Return estimates for canonical columns."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """The part ``model`` of a response."""

    name: str
    version: str
    release: str

    @property
    def facts(self) -> dict[str, str]:
        """Return the name as a response has it."""
        return {"name": self.name, "version": self.version, "release": self.release}


class Predictor:
    """A model behind its request schema."""

    def __init__(self, model: PriceModel) -> None:
        """Take a model; see ``load_release`` for one that is verified."""
        self.contract = model.contract
        self.schema = RequestSchema(model.contract, model.valuation_date_default)
        self._model = model
        self._unit = model.contract.target.unit
        ranges = [model.training_ranges.get(name, (-np.inf, np.inf)) for name in self.schema.numeric]
        self._seen = np.array(ranges).reshape(-1, 2)
        self._joint = JointAnswers(self._answer)

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        """Return a prediction for each instance, in the shape of a response.

        Raises:
            RequestRefused: an instance is not what the contract says.
            HedonicError: an answer is not a finite number inside its intervals; it is not given.
        """
        return self._answer(self.schema.check(instances))

    def answer(self, body: bytes) -> list[Prediction]:
        """Return the same for the body of a request."""
        return self._answer(self.schema.read(body))

    async def answer_jointly(self, body: bytes) -> list[Prediction]:
        """Return the same, computed together with what else arrives in this turn of the event loop."""
        return await self._joint.answer(self.schema.read(body))

    def _answer(self, rows: Rows) -> list[Prediction]:
        answers = self._model.estimate(rows.columns)
        numbers = zip(
            answers.estimate.tolist(), answers.interval_80.tolist(), answers.interval_90.tolist(), strict=True
        )
        return [
            self._prediction(row, *answer, warnings)
            for row, (answer, warnings) in enumerate(zip(numbers, self._warnings(rows), strict=True))
        ]

    def _prediction(
        self, row: int, estimate: float, interval_80: list[float], interval_90: list[float], told: list[str]
    ) -> Prediction:
        """Return the entry of one row.

        Raises:
            HedonicError: its numbers are not finite and in order.
        """
        (low_80, high_80), (low_90, high_90) = interval_80, interval_90
        # A comparison with NaN is false; what lies between finite numbers is finite.
        ordered = low_80 <= estimate <= high_80 and low_90 <= estimate <= high_90
        if not (ordered and math.isfinite(min(low_80, low_90)) and math.isfinite(max(high_80, high_90))):
            found = [estimate, *interval_80, *interval_90]
            raise HedonicError(f"row {row}: the model answered {found}, which is not served")
        return {
            "estimate": estimate,
            "unit": self._unit,
            "interval_80": interval_80,
            "interval_90": interval_90,
            "confidence": confidence(estimate, low_90, high_90),
            "warnings": told,
        }

    def _warnings(self, rows: Rows) -> list[list[str]]:
        """Return the warnings of each row: weak rules broken, and inputs outside what training saw."""
        outside = (rows.numbers < self._seen[:, :1]) | (rows.numbers > self._seen[:, 1:])
        if not outside.any():
            return rows.warnings
        warnings = [list(warning) for warning in rows.warnings]
        for column, row in np.argwhere(outside):
            name, (low, high) = rows.numeric[column], self._seen[column]
            warnings[row].append(self._outside(name, rows.numbers[column, row], low, high))
        return warnings

    def _outside(self, name: str, value: float, low: float, high: float) -> str:
        shown, label = [f"{number:.10g}" for number in (value, low, high)], name
        if self.contract.column(name).type == "date":
            shown = [day(number).isoformat() for number in (value, low, high)]
        if name == self.contract.time_column:
            label = VALUATION_DATE
        return f"{label} {shown[0]} is outside what training saw ({shown[1]} to {shown[2]})"


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release, ready to answer.

    Attributes:
        predictor: answers.
        explainer: gives the reasons of its answers.
        model: how it is named in a response.
        record: who made it, when and in which run; None where nobody wrote it down.
        facts: what its manifest says it was made from.
    """

    predictor: Predictor
    explainer: Explainer
    model: ModelName
    record: ReleaseRecord | None
    facts: dict[str, Any]


def load_release(folder: Path, expected: str | None = None) -> Release:
    """Return the release in ``folder``: every digest checked, every golden row answered.

    Args:
        folder: the release.
        expected: the release digest that was asked for; by default the folder's name.

    Raises:
        ReleaseRefused: a file is not what the manifest says, or a golden row is answered otherwise.
    """
    manifest = verify_release(folder, expected)
    model = PortableModel.load(folder / MODEL)
    where = f"release {manifest.digest[:16]}"
    if (folder / MODEL / CONTRACT).read_bytes() != (folder / CONTRACT).read_bytes():
        raise ReleaseRefused(f"{where}: {CONTRACT} and {MODEL}/{CONTRACT} differ. Make the release again.")
    if model.contract.name != manifest.dataset:
        raise ReleaseRefused(
            f"{where}: the model is of {model.contract.name}, the manifest of {manifest.dataset}"
        )
    predictor, golden, record = Predictor(model), read_golden(folder), read_record(folder)
    try:
        answers = [predictor.predict([instance])[0] for instance in golden.instances]
    except (*UNREADABLE, HedonicError) as err:
        raise ReleaseRefused(f"{where}: a golden row is not answered: {err}") from err
    if wrong := differences(answers, list(golden.answers)):
        raise ReleaseRefused(
            f"{where}: {len(wrong)} golden answers differ by more than {TOLERANCE:g}; first: {wrong[0]}. "
            "Run under the numeric environment of `hedonic env`, or make the release again."
        )
    version = record.version if record is not None and record.version else manifest.digest[:16]
    return Release(
        predictor=predictor,
        explainer=Explainer(model),
        model=ModelName(f"hedonic-{manifest.dataset}", version, manifest.digest),
        record=record,
        facts=manifest.model_dump(mode="json", exclude={"files"}),
    )


def confidence(estimate: float, low: float, high: float) -> dict[str, str]:
    """Return the grade of an estimate and its reason, from its 90 % interval (see ``GRADES``)."""
    if estimate <= 0:
        return {"grade": "D", "reason": "the estimate is not above zero"}
    width = (high - low) / estimate
    grade, told = _WIDEST
    for limit, better, under in _GRADED:
        if width < limit:
            grade, told = better, under
            break
    reason = f"the 90 % interval is {width:.0%} of the estimate wide; {grade} is {told}"
    return {"grade": grade, "reason": reason}

"""What a contract asks of a model's behaviour: directions, invariances, golden rows, the simple model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hedonic.data.frozen import Frozen, Slug


class Change(Frozen):
    """What becomes of a column's value: it is multiplied, added to, or replaced; one of the three."""

    factor: float | None = None
    add: float | None = None
    to: bool | float | str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for value in (self.factor, self.add, self.to)) != 1:
            raise ValueError("a change is one of factor, add and to")
        return self


Changes = Annotated[Mapping[str, Change], Field(min_length=1)]


class Direction(Frozen):
    """Which way the estimate goes, on average, when columns change and all else stays.

    Attributes:
        changes: of columns, by name.
        effect: the sign of the mean log change of the estimate; no change at all is allowed.
    """

    name: Slug
    changes: Changes
    effect: Annotated[str, Field(pattern=r"^(not_lower|not_higher)$")]


class Invariance(Frozen):
    """A change of columns that must not change the estimate.

    Attributes:
        changes: of columns, by name.
        tolerance: the greatest absolute log change of an estimate; 0.01 is about 1 %.
        share: of the rows that may change by more.
    """

    name: Slug
    changes: Changes
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0


class GoldenRow(Frozen):
    """A row whose price people know: the estimate must lie between two bounds, both included."""

    name: Slug
    row: Mapping[str, Any]
    minimum: Annotated[float, Field(gt=0)]
    maximum: float

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.minimum <= self.maximum:
            raise ValueError(f"{self.name}: minimum {self.minimum:g} > maximum {self.maximum:g}")
        return self


class SimplePolicy(Frozen):
    """When ridge ships in place of the study's model: where it is shown to be as good within the margin."""

    margin: Annotated[float, Field(ge=0)] = 0.002


class CoveragePolicy(Frozen):
    """How often an interval of a level holds the price in every slice, in percent, both ends included."""

    level: Annotated[int, Field(ge=1, le=99)] = 90
    minimum: Annotated[float, Field(ge=0, le=100)]
    maximum: Annotated[float, Field(ge=0, le=100)] = 100.0

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"coverage of {self.level}: minimum {self.minimum:g} > maximum {self.maximum:g}")
        return self

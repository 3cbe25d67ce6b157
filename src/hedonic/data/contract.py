"""The contract: the one place where everything about a data set is stated."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from hedonic.data.contract_problems import problems_of
from hedonic.data.frozen import Frozen as Frozen
from hedonic.data.frozen import Name as Name
from hedonic.data.gate_policy import GatePolicy
from hedonic.data.rules import RowRule

Fraction = Annotated[float, Field(gt=0, lt=1)]
ColumnType = Literal["integer", "number", "boolean", "category", "date", "text"]
Role = Literal["id", "time", "target", "feature", "attribute"]


class Severity(StrEnum):
    """What a failed check does: stop the run, be reported, or be noted."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Source(Frozen):
    """Where the table is: an fsspec URI (relative to the project root) and its digest."""

    uri: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: str | None = None


class Target(Frozen):
    """What is estimated, in which unit, and on which scale it is learnt."""

    column: str
    unit: str
    scale: Literal["log", "identity"] = "log"


class Column(Frozen):
    """One column: its type, meaning and limits.

    ``feature`` columns are what a caller sends and a model sees; ``attribute`` columns are kept
    for slices and lineage alone.
    """

    name: str
    type: ColumnType
    role: Role = "feature"
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = False
    description: str
    example: Any = None
    group: str | None = None

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        if self.categories is not None and self.type != "category":
            raise ValueError(f"{self.name}: categories belong to type category, not {self.type}")
        bounded = self.minimum is not None or self.maximum is not None
        if bounded and self.type not in ("integer", "number"):
            raise ValueError(f"{self.name}: minimum and maximum belong to numbers, not {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"{self.name}: minimum {self.minimum:g} > maximum {self.maximum:g}")
        return self


class Rule(Frozen):
    """A row rule by name, with what its failure does."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    rule: str
    severity: Severity = Severity.CRITICAL
    description: str

    @field_validator("rule")
    @classmethod
    def _parses(cls, text: str) -> str:
        RowRule.parse(text)
        return text


class Expectation(Frozen):
    """A Great Expectations expectation by its own name and arguments."""

    type: Annotated[str, Field(pattern=r"^expect_[a-z0-9_]+$")]
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity = Severity.CRITICAL
    description: str | None = None


class Forbidden(Frozen):
    """A column (a name or a glob) that no model may see, and why."""

    pattern: str
    reason: str


class Slice(Frozen):
    """A way to cut the holdout: by the values of a column, or by bands between edges."""

    name: Name
    column: str
    edges: tuple[float, ...] | None = None


class Ratio(Frozen):
    """A feature ``numerator / denominator``; missing where the denominator is zero."""

    name: Name
    numerator: str
    denominator: str


class Age(Frozen):
    """Years from a year column to the valuation date; ``renewed`` restarts the clock if not 0."""

    name: Name
    year: str
    renewed: str | None = None


class Place(Frozen):
    """Coordinates in degrees, the rotations that trees like, and k-means over them."""

    latitude: str
    longitude: str
    rotations_deg: tuple[float, ...] = ()
    min_clusters: Annotated[int, Field(ge=2)] = 5
    max_clusters: Annotated[int, Field(ge=2)] = 15


class Comparables(Frozen):
    """What is taken from the nearest earlier sales: the strongest gain we know.

    ``size`` gives prices per unit of that column (which must be among ``logs``); ``similar`` gives
    derived features and the difference at which a sale counts 1/e; ``averaged`` derived features
    whose mean over the neighbours is a feature.
    """

    neighbours: tuple[Annotated[int, Field(ge=1)], ...] = (5, 15, 40)
    size: str | None = None
    similar: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    averaged: tuple[str, ...] = ()


class Features(Frozen):
    """Which features are derived from the columns, beside the columns themselves."""

    columns: tuple[str, ...] | None = None
    ages: tuple[Age, ...] = ()
    logs: tuple[str, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    place: Place | None = None
    comparables: Comparables | None = None

    @property
    def derived_names(self) -> tuple[str, ...]:
        """Return the names of the ages, logs and ratios."""
        ages = [age.name for age in self.ages]
        return (*ages, *(f"log_{name}" for name in self.logs), *(r.name for r in self.ratios))


class Range(Frozen):
    """A searched hyper-parameter: from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low:g}..{self.high:g} (log={self.log}) is empty")
        return self


class Choice(Frozen):
    """A searched hyper-parameter: one of these values."""

    choices: Annotated[tuple[float | int | str | bool, ...], Field(min_length=1)]


Parameter = Range | Choice | bool | int | float | str
Family = Literal["median", "ridge", "network", "forest", "boosting"]


class Search(Frozen):
    """The objective, and the families with the spaces in which they are searched."""

    metric: Literal["log_rmse", "rmse", "mae", "mape_pct", "wmape_pct", "mdape_pct"] = "log_rmse"
    trials: Annotated[int, Field(ge=1, le=10_000)] = 12
    folds: Annotated[int, Field(ge=2, le=20)] = 4
    pruner: Literal["none", "median", "successive_halving", "hyperband", "wilcoxon"] = "median"
    families: Annotated[dict[Family, dict[str, Parameter]], Field(min_length=1)]


class SplitPolicy(Frozen):
    """How rows become train, calibration and holdout."""

    method: Literal["time", "hash", "random"]
    holdout: Fraction = 0.2
    calibration: Fraction = 0.15
    seed: int = 0


class RefitPolicy(Frozen):
    """What is served after a promoting verdict: the judged model, or its recipe on all rows."""

    policy: Literal["none", "latest"] = "none"
    agreement_mdape_pct: Annotated[float, Field(gt=0)] = 5.0


class Serve(Frozen):
    """Where the endpoint of this data set listens."""

    port: Annotated[int, Field(ge=1024, le=65535)] = 3000
    max_rows: Annotated[int, Field(ge=1)] = 100


class Contract(Frozen):
    """Everything that is known about one data set; see docs/contract.md."""

    format_version: Literal[1]
    name: Name
    title: str
    source: Source
    target: Target
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    rules: tuple[Rule, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    quarantine_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    forbidden: tuple[Forbidden, ...] = ()
    slices: tuple[Slice, ...] = ()
    features: Features = Field(default_factory=Features)
    search: Search
    split: SplitPolicy
    refit: RefitPolicy = Field(default_factory=RefitPolicy)
    gate: GatePolicy
    serve: Serve = Field(default_factory=Serve)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if problems := problems_of(self):
            raise ValueError("; ".join(problems))
        return self

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)

    def _role(self, role: Role) -> str | None:
        return next((column.name for column in self.columns if column.role == role), None)

    @property
    def id_column(self) -> str | None:
        """Return the name of the id column, if rows have one."""
        return self._role("id")

    @property
    def time_column(self) -> str | None:
        """Return the name of the column that holds the date of sale, if there is one."""
        return self._role("time")

    @property
    def inputs(self) -> tuple[Column, ...]:
        """Return the columns that a caller sends: the features, in contract order."""
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def digest(self) -> str:
        """Return the sha256 of the contract's meaning: comments and the order of its keys do not count.

        The order of names that the contract's author chose does (families, their parameters, similar
        attributes): sums and draws are made in it, so another order gives other bits.
        """
        content = json.dumps(self.model_dump(mode="json"))
        return hashlib.sha256(content.encode()).hexdigest()


def dump_contract(contract: Contract) -> str:
    """Return the contract as canonical JSON, the form in which a release carries it.

    Keys are in the order of the fields, names that its author chose in theirs; see ``Contract.digest``.
    """
    return json.dumps(contract.model_dump(mode="json"), indent=1) + "\n"


def parse_contract(text: str) -> Contract:
    """Return the contract that ``dump_contract`` wrote."""
    return Contract.model_validate_json(text)

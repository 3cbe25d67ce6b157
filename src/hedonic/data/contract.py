"""The contract: the one place where everything about a data set is stated."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from hedonic.data.behaviour_policy import CoveragePolicy, Direction, GoldenRow, Invariance, SimplePolicy
from hedonic.data.frozen import Frozen as Frozen
from hedonic.data.frozen import Name as Name
from hedonic.data.rules import RowRule
from hedonic.errors import ContractError

FORMAT_VERSION = 1

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


class Limit(Frozen):
    """An absolute limit on a holdout metric."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError(f"limit on {self.metric}: give minimum, maximum or both")
        return self


def _unused(value: Any) -> bool:
    """Return whether a key is left at None or empty: the contract keeps the digest that it had before it."""
    return value is None or value == ()


class SliceGate(Frozen):
    """What is asked of every part of every slice that has enough rows.

    Attributes:
        minimum_rows: from which on a part counts.
        margin: by which a part may get worse than with the champion.
        limits: on the figures of a part, whoever is champion.
        coverage: of the intervals in a part.
    """

    minimum_rows: Annotated[int, Field(ge=2)] = 100
    margin: Annotated[float, Field(ge=0)] = 0.02
    limits: tuple[Limit, ...] = Field(default=(), exclude_if=_unused)
    coverage: tuple[CoveragePolicy, ...] = Field(default=(), exclude_if=_unused)


class CanaryPolicy(Frozen):
    """The canary stage of a promotion: what a release must stand before it replaces a serving champion.

    Attributes:
        share: of the request keys that the new release answers meanwhile.
        requests: that it must answer without being stopped.
        limit_s: for which those are waited for.
        otherwise: what becomes of it when they do not come, or no endpoint answers.
        max_errors, window, max_disagreement: when it is stopped; see docs of ``hedonic traffic``.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    requests: Annotated[int, Field(ge=1)] = 200
    limit_s: Annotated[float, Field(gt=0, le=86_400)] = 3600.0
    otherwise: Literal["refuse", "promote"] = "refuse"
    max_errors: Annotated[int, Field(ge=1)] = 3
    window: Annotated[int, Field(ge=1)] = 50
    max_disagreement: Annotated[float, Field(gt=0)] = 0.25

    @model_validator(mode="after")
    def _fills_its_window(self) -> Self:
        if self.window > self.requests:
            raise ValueError(f"window {self.window} is never full in {self.requests} requests: lower it")
        return self


VerdictRecord = Literal["promoted", "kept", "refused", "parked"]


class GatePolicy(Frozen):
    """When a candidate replaces the champion; losses in absolute log error (0.01 is about 1 %).

    Attributes:
        limits: on the candidate's figures, whoever is champion.
        test: what must be shown with confidence: better by more than the margin, or not worse by more.
        margin, confidence, resamples: of the paired bootstrap.
        max_looks: how many candidates one holdout may judge; each is judged with the confidence that keeps
            the chance of a wrong promotion over all of them at what ``confidence`` says.
        unscored_champion: what becomes of a champion that cannot be scored on the rows: it is kept, or the
            candidate is judged as if there were none.
        slices: what is asked of every part.
        max_trees, max_leaves, max_latency_ms, max_size_mb: budgets.
        directions, invariances, golden: how the model must behave.
        simple: ridge ships where it is as good as the study's model.
        canary: the stage of real requests.
        approval: whether a person decides on what passes.
    """

    limits: tuple[Limit, ...]
    test: Literal["superiority", "non_inferiority"] = Field(
        default="superiority", exclude_if=lambda test: test == "superiority"
    )
    margin: Annotated[float, Field(ge=0)] = 0.0005
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    max_looks: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, exclude_if=_unused)
    unscored_champion: Literal["keep", "limits_decide"] = Field(
        default="keep", exclude_if=lambda policy: policy == "keep"
    )
    slices: SliceGate = Field(default_factory=SliceGate)
    max_trees: Annotated[int, Field(ge=1)] = 400
    max_leaves: Annotated[int, Field(ge=2)] = 31
    max_latency_ms: Annotated[float, Field(gt=0)] = 5.0
    max_size_mb: Annotated[float, Field(gt=0)] | None = Field(default=None, exclude_if=_unused)
    directions: tuple[Direction, ...] = Field(default=(), exclude_if=_unused)
    invariances: tuple[Invariance, ...] = Field(default=(), exclude_if=_unused)
    golden: tuple[GoldenRow, ...] = Field(default=(), exclude_if=_unused)
    simple: SimplePolicy | None = Field(default=None, exclude_if=_unused)
    canary: CanaryPolicy | None = Field(default=None, exclude_if=_unused)
    # A person approves what the gate would promote: `hedonic approve`.
    approval: Literal["required"] | None = Field(default=None, exclude_if=_unused)

    def recorded_as(self, verdict: Literal["promoted", "kept", "refused"]) -> VerdictRecord:
        """Return what the history says of a verdict: a promoting one is parked where a person decides."""
        return "parked" if verdict == "promoted" and self.approval == "required" else verdict


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
        problems = [*_column_problems(self), *_reference_problems(self)]
        if problems:
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


def _column_problems(contract: Contract) -> list[str]:
    names = [column.name for column in contract.columns]
    problems = [
        f"column {name!r} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for role in ("id", "time", "target"):
        holders = [column.name for column in contract.columns if column.role == role]
        if len(holders) > 1:
            problems.append(f"role {role} is given to {', '.join(holders)}: one column may have it")
    if contract._role("target") != contract.target.column:
        problems.append(f"target.column {contract.target.column!r} must be the column with role: target")
    for column in contract.columns:
        for forbidden in contract.forbidden:
            if column.role == "feature" and fnmatch.fnmatchcase(column.name, forbidden.pattern):
                problems.append(
                    f"feature {column.name!r} is forbidden ({forbidden.reason}): "
                    "remove it or give it role: attribute"
                )
    if contract.split.method == "time" and contract.time_column is None:
        problems.append("split.method time needs a column with role: time")
    if contract.split.method == "hash" and contract.id_column is None:
        problems.append("split.method hash needs a column with role: id")
    if contract.refit.policy == "latest" and contract.time_column is None:
        problems.append("refit.policy latest needs a column with role: time")
    return problems


def _reference_problems(contract: Contract) -> list[str]:
    known = {column.name for column in contract.columns}
    inputs = {column.name for column in contract.inputs}
    features = contract.features
    derived = [
        *[(f"features.columns {name}", (name,)) for name in features.columns or ()],
        *[(f"features.ages {age.name}", (age.year, age.renewed)) for age in features.ages],
        *[(f"features.logs {name}", (name,)) for name in features.logs],
        *[(f"features.ratios {r.name}", (r.numerator, r.denominator)) for r in features.ratios],
    ]
    if features.place:
        derived.append(("features.place", (features.place.latitude, features.place.longitude)))
    problems = [
        f"features.columns {column.name}: a {column.type} column cannot be a feature of a model; leave it out"
        for column in contract.inputs
        if column.type == "text" and column.name in (features.columns or ())
    ]
    problems += [
        f"{where}: {name!r} is not a feature column"
        for where, names in derived
        for name in names
        if name is not None and name not in inputs
    ]
    if features.comparables:
        comparables = features.comparables
        wanted = {*comparables.similar, *comparables.averaged}
        wanted |= {f"log_{comparables.size}"} if comparables.size else set()
        problems += [
            f"features.comparables: {name!r} is not a derived feature"
            for name in sorted(wanted - {*inputs, *features.derived_names})
        ]
        if not features.place:
            problems.append("features.comparables needs features.place")
    if features.ages and contract.time_column is None:
        problems.append("features.ages needs a column with role: time")
    referenced = [(f"slice {s.name}", {s.column}) for s in contract.slices]
    referenced += [(f"rule {r.name}", set(RowRule.parse(r.rule).columns)) for r in contract.rules]
    for where, names in referenced:
        problems += [f"{where}: no column {name!r}" for name in sorted(names - known)]
    return problems + _gate_problems(contract)


def _gate_problems(contract: Contract) -> list[str]:
    """Return what the gate's behavioural checks name that a model cannot be asked about."""
    gate, askable = contract.gate, {column.name: column for column in contract.inputs}
    if contract.time_column:
        askable[contract.time_column] = contract.column(contract.time_column)
    checks: tuple[Direction | Invariance, ...] = (*gate.directions, *gate.invariances)
    problems = []
    for check in checks:
        for name, change in check.changes.items():
            where = f"gate: {check.name}"
            if name not in askable:
                problems.append(f"{where}: {name!r} is neither a feature nor the time column")
            elif change.to is None and askable[name].type not in ("integer", "number", "date"):
                problems.append(
                    f"{where}: {name!r} is a {askable[name].type}, which has no factor or add; use to"
                )
    asked = {
        *(column.name for column in contract.inputs),
        *(["valuation_date"] if contract.time_column else []),
    }
    for golden in gate.golden:
        problems += [
            f"gate: golden row {golden.name}: {name!r} is not what a caller sends"
            for name in sorted({*golden.row} - asked)
        ]
    return problems


def load_contract(path: Path) -> Contract:
    """Return the contract in ``path`` (YAML).

    Raises:
        ContractError: it cannot be read; every problem is listed with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        there = sorted(p.stem for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ContractError(
            f"{path}: no such contract. Known data sets: {', '.join(there) or 'none'}."
        ) from err
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ContractError(f"{path}: not YAML: {err}") from err
    if not isinstance(content, dict):
        raise ContractError(f"{path}:1: a contract is a mapping of keys; got {type(content).__name__}")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ContractError(
            f"{path}: format_version {version} is newer than {FORMAT_VERSION}, which this "
            "Hedonic reads. Upgrade Hedonic."
        )
    try:
        contract = Contract.model_validate(content)
    except ValidationError as err:
        problems = [f"{path}:{_line(root, e['loc'])}: {_where(e['loc'])}{_fix(e)}" for e in err.errors()]
        raise ContractError("\n".join(problems)) from err
    if contract.name != path.stem:
        raise ContractError(
            f"{path}:{_line(root, ('name',))}: name is {contract.name!r} but the file is "
            f"{path.name!r}: make them the same"
        )
    return contract


def dump_contract(contract: Contract) -> str:
    """Return the contract as canonical JSON, the form in which a release carries it.

    Keys are in the order of the fields, names that its author chose in theirs; see ``Contract.digest``.
    """
    return json.dumps(contract.model_dump(mode="json"), indent=1) + "\n"


def parse_contract(text: str) -> Contract:
    """Return the contract that ``dump_contract`` wrote."""
    return Contract.model_validate_json(text)


def _line(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """Return the line (from 1) of the deepest part of ``loc`` that the file has."""
    line = 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _where(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in loc) + ": " if loc else ""


def _fix(error: Any) -> str:
    match error["type"]:
        case "missing":
            return "missing; add this key"
        case "extra_forbidden":
            return "unknown key; remove it or correct its spelling"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg']} (got {error['input']!r})"

"""The gate of a contract: when a candidate replaces the champion."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hedonic.data.behaviour_policy import CoveragePolicy, Direction, GoldenRow, Invariance, SimplePolicy
from hedonic.data.frozen import Frozen

VerdictRecord = Literal["promoted", "kept", "refused", "parked"]


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

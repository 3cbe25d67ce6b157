"""The traffic plan: which release is tried on which share of the requests, and when that ends by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from hedonic.data.contract import Frozen
from hedonic.errors import UserError
from hedonic.model.manifest import Sha256

FORMAT_VERSION: Final = 1
PREFIX = "HEDONIC_TRAFFIC__"
KEY_HEADER = "X-Request-Key"
"""Names whom an arm is kept for; without it an arm is kept for the rows."""
CHAMPION_KEY = "champion"
"""A request key that is never drawn: who sends it is answered by the champion."""

Mode = Literal["shadow", "canary", "ab"]


class TrafficLimits(Frozen):
    """When a challenger is taken out of the traffic by itself.

    Attributes:
        max_errors: this many errors in the plan's life end it. An error is an answer that failed, or a
            request refused that the champion accepts.
        window: so many of the latest compared requests are looked at, once there are so many.
        max_disagreement: a greater median of ``|challenger / champion - 1|`` over the window ends a
            canary; an error counts there as infinitely far.
    """

    max_errors: Annotated[int, Field(ge=1)] = 3
    window: Annotated[int, Field(ge=1, le=100_000)] = 50
    max_disagreement: Annotated[float, Field(gt=0)] = 0.25

    @property
    def n_requests(self) -> int:
        """Return within how many requests to the challenger one that is bad throughout is stopped."""
        return max(self.max_errors, self.window)


class TrafficPlan(Frozen):
    """A challenger beside the champion.

    Attributes:
        mode: ``shadow``: it answers too, in the background, and nobody gets its answers; ``canary``: it
            answers a share of the request keys, the champion beside it, for comparison; ``ab``: it answers
            its share alone.
        challenger: URI of its release.
        release: the digest that the release must have; by default the last part of the URI.
        share: of the request keys that it answers (shadow: answers too).
        asked_at: when somebody asked for it: the same plan asked for again is another plan.
        until: from then on the champion answers alone.
    """

    format_version: Literal[1] = FORMAT_VERSION
    mode: Mode
    challenger: Annotated[str, Field(min_length=1)]
    release: Sha256
    share: Annotated[float, Field(ge=0, le=1)]
    limits: TrafficLimits = Field(default_factory=TrafficLimits)
    asked_at: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_the_release(cls, content: Any) -> Any:
        if isinstance(content, dict) and "release" not in content:
            last = str(content.get("challenger", "")).rstrip("/").rpartition("/")[2]
            return {**content, "release": last}
        return content

    @property
    def digest(self) -> str:
        """Return the sha256 of the plan, by which it is known that it was stopped."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def over(self) -> bool:
        """Return whether its time is over."""
        return self.until is not None and datetime.now(UTC) >= self.until


def parse_plan(text: bytes, where: str) -> TrafficPlan:
    """Return the plan that a file holds.

    Args:
        text: of the file.
        where: the file, for the message.

    Raises:
        UserError: it is not a plan, or one of a newer format.
    """
    try:
        return TrafficPlan.model_validate_json(text)
    except ValidationError as err:
        told = "; ".join(_told(problem) for problem in err.errors(include_input=False))
        raise UserError(
            f"{where}: not a traffic plan of format {FORMAT_VERSION}: {told}. "
            "Write it with `hedonic traffic`, or remove it."
        ) from err


def plan_in(environment: Mapping[str, str]) -> TrafficPlan | None:
    """Return the plan that an environment states (``HEDONIC_TRAFFIC__MODE`` and so on); None without one.

    Raises:
        UserError: a value is out of bounds or a name is unknown: all of them at once.
    """
    given: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value
    }
    if not given:
        return None
    limits = {name: given.pop(name) for name in TrafficLimits.model_fields if name in given}
    try:
        return TrafficPlan.model_validate({**given, "limits": limits})
    except ValidationError as err:
        told = "; ".join(_told(problem, PREFIX) for problem in err.errors(include_input=False))
        known = [name for name in TrafficPlan.model_fields if name not in ("format_version", "limits")]
        names = ", ".join(PREFIX + name.upper() for name in (*known, *TrafficLimits.model_fields))
        raise UserError(f"the traffic plan cannot be used: {told}. There are: {names}.") from err


def _told(problem: Any, prefix: str = "") -> str:
    place = [str(part) for part in problem["loc"] if not prefix or part != "limits"]
    name = prefix + "__".join(place).upper() if prefix else ".".join(place)
    return f"{name}: {problem['msg']}"

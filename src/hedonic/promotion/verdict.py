"""The verdict: what the gate decided about a candidate, and every reason for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from hedonic.data.contract import Frozen

Outcome = Literal["passed", "issue", "not applicable"]
Kind = Literal["promoted", "kept", "refused"]


class Finding(Frozen):
    """What one check of the gate found: its outcome, the value it saw and the limit it knew.

    ``value`` is None when there was none, or when it was not a finite number (``sentence`` says so).
    """

    check: str
    outcome: Outcome
    value: float | None = None
    limit: float | None = None
    sentence: str


class Verdict(Frozen):
    """Promoted, kept (the champion stays) or refused (the candidate may not ship), with reasons."""

    promoted: bool
    kind: Kind
    reasons: tuple[Finding, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.promoted != (self.kind == "promoted"):
            raise ValueError(f"a verdict of kind {self.kind} cannot have promoted={self.promoted}")
        return self

    @property
    def issues(self) -> tuple[Finding, ...]:
        """Return the findings that speak against the candidate."""
        return tuple(finding for finding in self.reasons if finding.outcome == "issue")

    @property
    def summary(self) -> str:
        """Return the verdict in one line: its kind, and what decided it."""
        spoken = self.issues or tuple(f for f in self.reasons if f.check in ("better", "champion"))
        return f"{self.kind}: {'; '.join(finding.sentence for finding in spoken)}"

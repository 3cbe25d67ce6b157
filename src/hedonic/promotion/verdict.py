"""The verdict: what the gate decided about a candidate, and every reason for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from hedonic.data.contract import Frozen

Outcome = Literal["passed", "issue", "not applicable"]
Kind = Literal["promoted", "kept", "refused"]

CANARY, CANARY_UNTRIED = "canary", "canary-untried"
"""Checks: how the candidate did on real requests; that too few of them came to say so."""

SIMPLE_SHIPS, CHAMPION_SCORED = "simple-model-ships", "champion-scored"
"""Checks: that ridge is judged in place of the study's model; that there was a champion to compare with."""
STALE = "stale-champion"
"""Check: that another release became champion after the verdict on this one."""
HEADLINES = ("better", "champion", CHAMPION_SCORED, SIMPLE_SHIPS, CANARY)
"""Checks that tell a promotion in one line."""


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
    """Promoted, kept (the champion stays) or refused (the candidate may not ship), with reasons.

    Attributes:
        holdout: digest of the rows that decided, where it is known.
        comparison: sha256 of the report that sets the candidate beside the champion.
    """

    promoted: bool
    kind: Kind
    reasons: tuple[Finding, ...]
    holdout: str | None = None
    comparison: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.promoted != (self.kind == "promoted"):
            raise ValueError(f"a verdict of kind {self.kind} cannot have promoted={self.promoted}")
        return self

    @property
    def issues(self) -> tuple[Finding, ...]:
        """Return the findings that speak against the candidate."""
        return tuple(finding for finding in self.reasons if finding.outcome == "issue")

    def joined_by(self, *findings: Finding) -> Verdict:
        """Return the verdict with more findings; an issue refuses what was promoted."""
        reasons = (*self.reasons, *findings)
        if self.promoted and any(finding.outcome == "issue" for finding in findings):
            refused = {"promoted": False, "kind": "refused", "reasons": reasons}
            return self.model_copy(update=refused)
        return self.model_copy(update={"reasons": reasons})

    @property
    def is_about_the_candidate(self) -> bool:
        """Return whether the same candidate would be judged the same again.

        Not where nobody asked it, nor where another champion came in between.
        """
        return not any(finding.check in (CANARY_UNTRIED, STALE) for finding in self.issues)

    @property
    def summary(self) -> str:
        """Return the verdict in one line: its kind, and what decided it."""
        spoken = self.issues or tuple(f for f in self.reasons if f.check in HEADLINES)
        return f"{self.kind}: {'; '.join(finding.sentence for finding in spoken)}"

"""How a traffic plan stands: running, stopped or refused, and what was seen of its challenger."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hedonic.serving.challenge import Challenge
from hedonic.serving.process_figures import Figure
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_plan_file import Stop


@dataclass(slots=True)
class Standing:
    """One plan and what became of it; the next plan has a standing of its own.

    Attributes:
        plan: None where there is none, or where its file cannot be read.
        challenge: what answers by the plan now; None once it was stopped or refused.
        begun: the same, kept for its figures when it does not answer any more.
        stop: how it was stopped.
        refused: why it was not begun, or not gone on with.
    """

    plan: TrafficPlan | None = None
    challenge: Challenge | None = None
    begun: Challenge | None = None
    stop: Stop | None = None
    refused: str | None = None

    def end(self) -> None:
        """Let the champion answer alone."""
        ended, self.challenge = self.challenge, None
        if ended is not None:
            ended.close()

    def facts(self) -> dict[str, Any] | None:
        """Return what ``/model/info`` says of the traffic; None without a plan."""
        state = "stopped" if self.stop else "refused" if self.refused else "running"
        reason = self.stop.reason if self.stop else self.refused
        plan = self.plan
        if plan is None:
            return {"state": state, "reason": reason} if self.refused else None
        n, errors, apart = self._seen()
        return {
            "mode": plan.mode,
            "share": plan.share,
            "challenger": plan.release,
            "uri": plan.challenger,
            "plan": plan.digest,
            "n": n,
            "errors": errors,
            # JSON has no infinity, and an error counts as that far; it is among the errors.
            "disagreement": apart if apart is not None and math.isfinite(apart) else None,
            "state": state,
            "reason": reason,
            "answered": self._arms(),
            "limits": plan.limits.model_dump(),
        }

    def figures(self) -> Iterator[Figure]:
        """Yield what Prometheus reads of the traffic."""
        if self.plan is None:
            return
        challenger = ("challenger", self.plan.release)
        for arm, n in self._arms().items():
            told = "Requests by what answered them"
            yield Figure(
                "hedonic_traffic_requests_total", "counter", told, float(n), (("arm", arm), challenger)
            )
        told = "Requests in which the challenger failed"
        yield Figure("hedonic_traffic_errors_total", "counter", told, float(self._seen()[1]), (challenger,))
        told = "Whether the traffic plan was stopped by itself"
        yield Figure("hedonic_traffic_stopped", "gauge", told, float(self.stop is not None), (challenger,))

    def _seen(self) -> tuple[int, int, float | None]:
        """Return the requests to the challenger, its errors, and how far it is from the champion."""
        if self.begun is not None:
            watch = self.begun.watch
            return watch.n, watch.errors, watch.disagreement
        if self.stop is not None:  # before this process began
            return self.stop.n, self.stop.errors, self.stop.disagreement
        return 0, 0, None

    def _arms(self) -> dict[str, int]:
        begun = self.begun
        if begun is None:
            return {}
        if begun.plan.mode == "shadow":
            return {"champion": begun.n_champion, "shadow": begun.n_challenger, "dropped": begun.n_dropped}
        return {"champion": begun.n_champion, "challenger": begun.n_challenger}

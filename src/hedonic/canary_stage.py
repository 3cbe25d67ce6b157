"""The canary stage of a promotion: a release answers a share of the champion's requests first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from hedonic.answer import endpoint_info, endpoint_url
from hedonic.data.contract import Contract, Frozen
from hedonic.data.gate_policy import CanaryPolicy
from hedonic.errors import HedonicError
from hedonic.promotion.verdict import CANARY, CANARY_UNTRIED, Finding
from hedonic.serving.traffic_plan import TrafficLimits, TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import Settings

_POLL_S = 0.2
_GRACE_S = 30.0


class CanaryTrial(Frozen):
    """How a release did as a canary.

    Attributes:
        finding: what the verdict is told of it.
        n, errors: requests to it, and those in which it failed.
        disagreement: median relative difference from the champion; None where nothing was compared.
        duration_s: that it took.
    """

    finding: Finding
    n: int = 0
    errors: int = 0
    disagreement: float | None = None
    duration_s: float = 0.0


def run_canary(settings: Settings, contract: Contract, release: str, champion: str | None) -> CanaryTrial:
    """Return how the release did as a canary of the champion's endpoint, as the contract's gate asks.

    Whatever plan was in force before is in force again at the end. Should this process die meanwhile, the
    plan ends by itself.

    Args:
        settings: name the project.
        contract: whose ``gate.canary`` is there.
        release: digest of a release in the store.
        champion: digest of the release that the endpoint must be serving; None: there is none yet.

    Raises:
        HedonicError: the contract asks for no canary.
    """
    policy = contract.gate.canary
    if policy is None:
        raise HedonicError(f"{contract.name}: gate.canary is not in the contract")
    url = endpoint_url(settings, contract)
    if champion is None:
        told = "there is no champion whose requests a canary could answer"
        return CanaryTrial(finding=Finding(check=CANARY, outcome="not applicable", sentence=told))
    info = endpoint_info(settings, contract)
    if info is None:
        return CanaryTrial(finding=_untried(policy, 0, f"no endpoint answers at {url}, so no canary was run"))
    if (served := info["model"]["release"]) != champion:
        told = f"{url} serves {served[:16]} and not the champion, so no canary was run"
        return CanaryTrial(finding=_untried(policy, 0, told))
    now = datetime.now(UTC)
    plan = TrafficPlan(
        mode="canary",
        challenger=str(settings.releases / contract.name / release),
        release=release,
        share=policy.share,
        limits=TrafficLimits(
            max_errors=policy.max_errors, window=policy.window, max_disagreement=policy.max_disagreement
        ),
        asked_at=now,
        until=now + timedelta(seconds=policy.limit_s + _GRACE_S),
    )
    with _in_force(PlanFile(settings.home, contract.name), plan):
        return _watched(settings, contract, policy, plan)


def _watched(settings: Settings, contract: Contract, policy: CanaryPolicy, plan: TrafficPlan) -> CanaryTrial:
    """Return how it ended: stopped, refused, enough requests answered, or the time over."""
    begun, seen = time.monotonic(), CanaryTrial(finding=_untried(policy, 0, "it was not looked at"))
    while True:
        traffic = _traffic(settings, contract, plan)
        taken_s = time.monotonic() - begun
        n = traffic.get("n", seen.n)
        finding = _judged(policy, traffic)
        if finding is None and taken_s > policy.limit_s:
            told = f"only {n} of {policy.requests} requests came to the canary in {policy.limit_s:g} s"
            finding = _untried(policy, n, told)
        seen = CanaryTrial(
            finding=finding or seen.finding,
            n=n,
            errors=traffic.get("errors", seen.errors),
            disagreement=traffic.get("disagreement", seen.disagreement),
            duration_s=taken_s,
        )
        if finding is not None:
            return seen
        time.sleep(min(_POLL_S, policy.limit_s))


def _judged(policy: CanaryPolicy, traffic: dict[str, Any]) -> Finding | None:
    """Return what the endpoint's figures say; None while they say nothing."""
    n, reason = traffic.get("n", 0), traffic.get("reason")
    match traffic.get("state"):
        case "stopped":
            told = f"stopped as a canary after {n} requests: {reason}"
        case "refused":
            told = f"the endpoint refuses it as a canary: {reason}"
        case "running" if n >= policy.requests:
            apart = traffic.get("disagreement")
            shown = "not compared" if apart is None else f"a median of {apart:.2%} from the champion"
            told = f"answered {n} requests as a canary, {traffic['errors']} errors, {shown}"
            return Finding(check=CANARY, outcome="passed", value=n, limit=policy.requests, sentence=told)
        case _:
            return None
    return Finding(check=CANARY, outcome="issue", value=n, limit=policy.requests, sentence=told)


def _untried(policy: CanaryPolicy, n: int, told: str) -> Finding:
    """Return the finding on a release that too few requests came to, by what the contract says then."""
    refuses = policy.otherwise == "refuse"
    return Finding(
        check=CANARY_UNTRIED,
        outcome="issue" if refuses else "not applicable",
        value=n,
        limit=policy.requests,
        sentence=f"{told}; gate.canary.otherwise says {policy.otherwise}",
    )


def _traffic(settings: Settings, contract: Contract, plan: TrafficPlan) -> dict[str, Any]:
    """Return what the endpoint says of this plan; nothing while it follows another or does not answer."""
    traffic = (endpoint_info(settings, contract) or {}).get("traffic") or {}
    return traffic if traffic.get("plan") == plan.digest else {}


@contextmanager
def _in_force(file: PlanFile, plan: TrafficPlan) -> Iterator[None]:
    """Keep the plan in force, and put back what was there before, unless somebody wrote another meanwhile."""
    before = file.write(plan)
    try:
        yield
    finally:
        file.take_back(plan, before)

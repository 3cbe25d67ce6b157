"""The traffic of a process: which challenger is tried now, by the plan that is in force."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.serving.answer_record import AsideLog
from hedonic.serving.canary import Canary
from hedonic.serving.challenge import Challenge
from hedonic.serving.predictor import Release
from hedonic.serving.shadow import Shadow
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile, Stop, stop_now
from hedonic.serving.traffic_standing import Standing

RETRY_S = 60.0
"""After so long a challenger that was refused is tried again: it may have been out of reach."""

_logger = logging.getLogger("hedonic.serving")


class Traffic:
    """Follows the plan: its file in HEDONIC_HOME, or the environment's where there is no file.

    A challenger is loaded beside the champion and verified before it sees a request; one that is not what
    it should be is refused, and the champion answers alone. So it does as soon as a plan is stopped, and a
    plan that was stopped does not begin again.
    """

    def __init__(
        self,
        load: Callable[[TrafficPlan], Release],
        champion: Callable[[], Release],
        file: PlanFile | None,
        environment_plan: TrafficPlan | None = None,
        log: AsideLog | None = None,
    ) -> None:
        """Begin without a plan; ``follow`` takes one.

        Args:
            load: gives the verified release of a plan's challenger, or refuses it.
            champion: gives what is served.
            file: the plan's; None where there is no HEDONIC_HOME.
            environment_plan: in force where there is no file.
            log: takes a shadow's answers.
        """
        self._load, self._champion, self._file = load, champion, file
        self._environment_plan = environment_plan
        self._log = log or AsideLog(None)
        self.standing = Standing()
        self._retry_at = math.inf
        self._closed = False
        self._lock = threading.Lock()

    def challenge(self) -> Challenge | None:
        """Return what answers beside the champion now, if anything does."""
        return self.standing.challenge

    def follow(self) -> None:
        """Make what the plan says take effect, if it changed since the last look."""
        with self._lock:
            if self._closed:
                return
            try:
                plan = self._wanted()
            except HedonicError as err:
                self._refuse_file(str(err))
                return
            if plan != self.standing.plan or time.monotonic() >= self._retry_at:
                self._take(plan)
            self._look_after(self.standing)

    def close(self) -> None:
        """Let no challenger answer any more."""
        with self._lock:
            self._closed = True
            self.standing.end()

    def _wanted(self) -> TrafficPlan | None:
        plan = (self._file.read() if self._file else None) or self._environment_plan
        return None if plan is not None and plan.over else plan

    def _refuse_file(self, reason: str) -> None:
        """Let the champion answer alone while nobody can read what is asked for."""
        self.standing.end()
        if self.standing.refused != reason:
            _logger.error("traffic: the plan is refused: %s", reason)
        self.standing = Standing(refused=reason)

    def _take(self, plan: TrafficPlan | None) -> None:
        self.standing.end()
        self._retry_at = math.inf
        standing = Standing(plan)
        if plan is None:
            _logger.warning("traffic: the champion answers alone")
        elif self._file and (stop := self._file.stop_of(plan)):
            standing.stop = stop
            _logger.warning("traffic: this plan was stopped, and stays so: %s", stop.reason)
        else:
            try:
                standing.challenge = standing.begun = self._begun(plan, standing)
            except HedonicError as err:
                standing.refused, self._retry_at = str(err), time.monotonic() + RETRY_S
                _logger.error("traffic: the challenger is refused: %s", err)
            else:
                told = "traffic: %s of release %s, share %g"
                _logger.warning(told, plan.mode, plan.release[:16], plan.share)
        self.standing = standing

    def _begun(self, plan: TrafficPlan, standing: Standing) -> Challenge:
        """Return what answers by the plan, its challenger loaded and verified."""
        champion = self._champion()
        if champion.model.release == plan.release:
            raise ReleaseRefused(f"release {plan.release[:16]} is the champion: there is nothing to compare")
        release = self._load(plan)
        if release.model.release != plan.release:
            raise ReleaseRefused(
                f"{plan.challenger}: is release {release.model.release}, the plan says {plan.release}. "
                "Correct the plan: `hedonic traffic`."
            )
        ours, theirs = (_answers_for(each) for each in (champion, release))
        if ours != theirs:
            raise ReleaseRefused(
                f"release {plan.release[:16]} answers for {theirs[0]} in {theirs[1]}, the champion for "
                f"{ours[0]} in {ours[1]}: they cannot be compared. Name a release of {ours[0]}."
            )
        if plan.mode == "shadow":
            return Shadow(plan, release, self._log)
        return Canary(plan, release, lambda reason: self._stop(plan, standing, reason))

    def _look_after(self, standing: Standing) -> None:
        """End what another process stopped, and a challenger that became the champion."""
        plan = standing.plan
        if plan is None or standing.challenge is None:
            return
        if self._file and (stop := self._file.stop_of(plan)):
            standing.stop = stop
            standing.end()
        elif self._champion().model.release == plan.release:
            standing.refused = "the challenger is the champion by now: there is nothing to compare"
            standing.end()

    def _stop(self, plan: TrafficPlan, standing: Standing, reason: str) -> None:
        """Let the champion answer everything from the next request on, and write the stop down."""
        challenge, standing.challenge = standing.challenge, None
        if challenge is None:
            return
        challenge.close()
        standing.stop = stop = stop_now(plan, reason, challenge.watch)
        told = "traffic: %s of release %s is stopped, the champion answers everything: %s"
        _logger.error(told, plan.mode, plan.release[:16], reason)
        # A disk may take its time, and no request waits for it; an ending process does.
        threading.Thread(target=self._record, args=(plan, stop), name="traffic-stop").start()

    def _record(self, plan: TrafficPlan, stop: Stop) -> None:
        told = "traffic: the stop is not written down, so a restart begins the plan again: %s"
        if self._file is None:
            _logger.error(told, "HEDONIC_HOME is not set")
            return
        try:
            self._file.record_stop(plan, stop)
        except (OSError, HedonicError) as err:
            _logger.error(told, err)


def _answers_for(release: Release) -> tuple[str, str]:
    """Return the data set, and the unit of its estimates."""
    contract = release.predictor.contract
    return contract.name, contract.target.unit

"""The traffic plan of a data set as a file, and beside it the plans that were stopped."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from hedonic.data.contract import Frozen
from hedonic.durable_file import write_durably
from hedonic.errors import UserError
from hedonic.model.manifest import Sha256
from hedonic.serving.traffic_plan import TrafficPlan, parse_plan
from hedonic.serving.traffic_watch import Watch


class Stop(Frozen):
    """That a plan was stopped, when and why."""

    challenger: Sha256
    at: AwareDatetime
    reason: str
    n: int
    errors: int
    disagreement: float | None


class _Stops(Frozen):
    """Every plan of a data set that was stopped, by its digest."""

    format_version: Literal[1] = 1
    plans: dict[Sha256, Stop] = Field(default_factory=dict)


class PlanFile:
    """``serving/<data set>.traffic.json``; people write the plan, the service writes what it stopped."""

    def __init__(self, home: Path, dataset: str) -> None:
        """Name the files; neither need be there."""
        self.path = home / "serving" / f"{dataset}.traffic.json"
        self.stops_path = home / "serving" / f"{dataset}.traffic.stopped.json"

    def read(self) -> TrafficPlan | None:
        """Return the plan; None when there is none.

        Raises:
            UserError: the file is no plan.
        """
        try:
            return parse_plan(self.path.read_bytes(), str(self.path))
        except FileNotFoundError:
            return None

    def write(self, plan: TrafficPlan) -> bytes | None:
        """Make this the plan, which the service soon follows; return what the file held before."""
        with self._alone():
            before = self.path.read_bytes() if self.path.exists() else None
            write_durably(self.path, plan.model_dump_json(indent=1) + "\n")
            return before

    def remove(self) -> None:
        """Leave no plan: the champion answers alone."""
        if self.path.exists():
            with self._alone():
                self.path.unlink(missing_ok=True)

    def take_back(self, plan: TrafficPlan, before: bytes | None) -> None:
        """Let the file hold what it did before this plan, whatever that is, unless it holds another by now.

        Raises:
            UserError: the file is no plan.
        """
        with self._alone():
            if self.read() != plan:
                return
            if before is None:
                self.path.unlink(missing_ok=True)
            else:
                write_durably(self.path, before.decode())

    def stop_of(self, plan: TrafficPlan) -> Stop | None:
        """Return how this plan was stopped; None when it was not."""
        return self._stops().plans.get(plan.digest)

    def record_stop(self, plan: TrafficPlan, stop: Stop) -> None:
        """Write down that the plan was stopped, so that it stays so when the process restarts."""
        with self._alone():
            plans = {**self._stops().plans, plan.digest: stop}
            write_durably(self.stops_path, _Stops(plans=plans).model_dump_json(indent=1) + "\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of all who change the files: what is written again was read by nobody else."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
        except PermissionError:  # root's, who wrote a plan: to lock it no right to write it is needed
            handle = os.open(lock, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _stops(self) -> _Stops:
        try:
            return _Stops.model_validate_json(self.stops_path.read_bytes())
        except FileNotFoundError:
            return _Stops()
        except ValidationError as err:
            raise UserError(
                f"{self.stops_path}: not a record of stopped plans: {err}. Remove it: stopped plans of a "
                "file that still holds begin again."
            ) from err


def stop_now(plan: TrafficPlan, reason: str, watch: Watch) -> Stop:
    """Return the stop of a plan, now, with what was seen of its challenger."""
    return Stop(
        challenger=plan.release,
        at=datetime.now(UTC),
        reason=reason,
        n=watch.n,
        errors=watch.errors,
        disagreement=watch.disagreement,
    )

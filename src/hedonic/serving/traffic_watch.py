"""The watch over a challenger: how often it failed, how far it is from the champion, and when to stop it."""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from statistics import median

from hedonic.serving.traffic_plan import TrafficLimits


class Watch:
    """Counts what a challenger did; requests that are the caller's fault are not counted.

    A challenger that errs always is stopped by its ``max_errors``-th request, one that always disagrees by
    its ``window``-th. One that does either is stopped by then too, for an error is the largest disagreement.
    """

    def __init__(self, limits: TrafficLimits, *, by_disagreement: bool) -> None:
        """Judge by these limits.

        Args:
            limits: of errors and of disagreement.
            by_disagreement: whether disagreement is a reason to stop.
        """
        self.n = self.errors = 0
        self._limits = limits
        self._by_disagreement = by_disagreement
        self._window: deque[float] = deque(maxlen=limits.window)
        self._lock = threading.Lock()

    def answered(self, apart: float | None = None) -> None:
        """Count a good answer, and how far it is from the champion's where they were compared."""
        with self._lock:
            self.n += 1
            if apart is not None:
                self._window.append(apart)

    def erred(self) -> None:
        """Count an error."""
        with self._lock:
            self.n += 1
            self.errors += 1
            self._window.append(math.inf)

    @property
    def disagreement(self) -> float | None:
        """Return the median disagreement of the window as far as it is filled; None when there is none."""
        with self._lock:
            seen = tuple(self._window)
        return median(seen) if seen else None

    def reason(self) -> str | None:
        """Return why the challenger must be stopped; None while it need not."""
        limits = self._limits
        if self.errors >= limits.max_errors:
            return f"{self.errors} errors in {self.n} requests; the limit is {limits.max_errors}"
        if not self._by_disagreement or len(self._window) < limits.window:
            return None
        apart = self.disagreement
        if apart is None or apart <= limits.max_disagreement:
            return None
        return (
            f"it is a median of {apart:.1%} from the champion over {limits.window} requests; "
            f"the limit is {limits.max_disagreement:.1%}"
        )


def disagreement(champion: bytes, challenger: bytes) -> float:
    """Return the median of ``|challenger / champion - 1|`` over the rows of two answers to one request."""
    pairs = zip(_estimates(champion), _estimates(challenger), strict=True)
    return median(_apart(ours, theirs) for ours, theirs in pairs)


def _apart(ours: float, theirs: float) -> float:
    if ours == theirs:
        return 0.0
    return abs(theirs - ours) / abs(ours) if ours else math.inf


def _estimates(content: bytes) -> list[float]:
    return [prediction["estimate"] for prediction in json.loads(content)["predictions"]]

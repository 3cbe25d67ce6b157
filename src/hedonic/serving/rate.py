"""The rate of a client: a bucket of tokens that fills with time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class RateLimiter:
    """One bucket a client; a bounded number of clients is remembered."""

    def __init__(
        self, per_s: float, burst: int, max_clients: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the rate, the depth of a bucket and the number of buckets."""
        self._per_s = per_s
        self._burst = burst
        self._max_clients = max_clients
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._buckets)

    def wait_s(self, client: Hashable) -> float:
        """Return 0 where the client may ask now, and counts it; else the seconds until it may."""
        now = self._clock()
        level, seen = self._buckets.pop(client, (float(self._burst), now))
        level = min(float(self._burst), level + (now - seen) * self._per_s)
        allowed = level >= 1.0
        self._buckets[client] = (level - 1.0 if allowed else level, now)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self._per_s

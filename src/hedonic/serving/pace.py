"""The pace of refusals: callers who come back at once must not take the time of those who are served."""

from __future__ import annotations

import asyncio


class Pace:
    """Lets so many pass a second, evenly; a single one passes at once.

    An answer that refuses costs nearly as much as one that serves, for the parsing of a request is most of
    it. Callers who ask again as soon as they are refused would leave little for the others; held back,
    they cost no more than a share that is fixed, however many they are.
    """

    def __init__(self, per_s: float, max_wait_s: float) -> None:
        """Take the pace; nobody is held back longer than ``max_wait_s``."""
        self._interval_s = 1.0 / per_s
        self._max_wait_s = max_wait_s
        self._next = 0.0

    async def wait(self) -> None:
        """Return when it is this one's turn."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        if turn - now > self._max_wait_s:
            turn = now + self._max_wait_s
        else:
            self._next = turn + self._interval_s
        if turn > now:
            await asyncio.sleep(turn - now)

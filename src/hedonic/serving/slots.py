"""Slots: how many requests are worked on at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque

from hedonic.serving.refusal import Refusal, retry_after


class Slots:
    """A bounded number of slots behind a bounded queue, first come first served."""

    def __init__(self, concurrency: int, queue: int, wait_s: float, retry_after_s: int) -> None:
        """Take the limits; see ``GuardSettings``."""
        self._free = concurrency
        self._max_waiting = concurrency + queue
        self._wait_s = wait_s
        self._retry_after = (retry_after(retry_after_s),)
        self._n_arrived = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def n_inside(self) -> int:
        """Return the number of requests that have a slot or wait for one."""
        return self._n_arrived

    async def enter(self) -> None:
        """Take a slot; every ``enter`` that returns needs one ``leave``.

        Raises:
            Refusal: 503, when the queue is full or the turn did not come in time.
        """
        if self._n_arrived >= self._max_waiting:
            raise self._overloaded()
        self._n_arrived += 1
        try:
            # What answers holds the loop while it computes, so requests that came together would each
            # find the queue empty. One turn of the loop lets all of them be counted first.
            loop = asyncio.get_running_loop()
            arrived = loop.time()
            await asyncio.sleep(0)
            if self._free:  # while someone waits none is free: it is handed over
                self._free -= 1
            else:
                await self._turn()
            if loop.time() - arrived > self._wait_s:
                self._pass_on()
                raise self._overloaded()
        except BaseException:
            self._n_arrived -= 1
            raise

    def leave(self) -> None:
        """Give the slot to the next in the queue, or back."""
        self._n_arrived -= 1
        self._pass_on()

    async def _turn(self) -> None:
        """Return once a slot was handed over."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise self._overloaded() from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Leave the queue; a slot that was handed over at the same moment goes to the next."""
        if turn.done() and not turn.cancelled():
            self._pass_on()
        else:
            self._waiting.remove(turn)

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _overloaded(self) -> Refusal:
        message = "more requests than can be answered; try again in a moment"
        return Refusal(503, "overloaded", message, self._retry_after)

"""Joint answers: requests that arrive together are answered by one call of the model."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from hedonic.serving.schema import Rows

JOINT_ROWS = 64
"""Requests are answered together up to so many rows; beyond it little is saved, and the first would wait."""

_Waiting = tuple[Rows, asyncio.Future[list[dict[str, Any]]]]


class JointAnswers:
    """Answers the rows of all requests of one turn of the event loop at once.

    Most of what a single row costs is the same for eight, and a batch gives the bits that its rows give
    alone, so nobody can tell. Nothing waits for more to come: what a turn brings is answered in the next.
    """

    def __init__(self, answer: Callable[[Rows], list[dict[str, Any]]]) -> None:
        """Take what answers rows, one answer a row."""
        self._answer = answer
        self._waiting: deque[_Waiting] = deque()

    async def answer(self, rows: Rows) -> list[dict[str, Any]]:
        """Return the answers of a request's rows.

        Raises:
            HedonicError: there is no answer to this request; those that came with it are answered.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[list[dict[str, Any]]] = loop.create_future()
        self._waiting.append((rows, waiting))
        if len(self._waiting) == 1:
            loop.call_soon(self._take_turn)
        return await waiting

    def _take_turn(self) -> None:
        """Answer the requests that came first, and leave the others to the next turn."""
        n_rows, taken = 0, list[_Waiting]()
        while self._waiting and (not taken or n_rows + self._waiting[0][0].n_rows <= JOINT_ROWS):
            rows, waiting = self._waiting.popleft()
            if not waiting.done():  # whoever asked may be gone
                taken.append((rows, waiting))
                n_rows += rows.n_rows
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_turn)
        self._settle(taken)

    def _settle(self, taken: list[_Waiting]) -> None:
        if not taken:
            return
        try:
            answers = self._answer(Rows.joined([rows for rows, _ in taken]))
        except Exception as err:  # noqa: BLE001 - the edge of a turn: whoever waits must hear of it
            if len(taken) == 1:
                taken[0][1].set_exception(err)
            else:  # the fault is one request's, and it alone must bear it
                for request in taken:
                    self._settle([request])
            return
        start = 0
        for rows, waiting in taken:
            waiting.set_result(answers[start : start + rows.n_rows])
            start += rows.n_rows

"""Looks: facts that another process tells, asked for when somebody wants them and never waited for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from hedonic.errors import HedonicError

Fact = TypeVar("Fact")


class Look(Generic[Fact]):
    """A fact, when it was last told, and what stood in the way since.

    Attributes:
        told: the fact as it was last told; None before that.
        at: when that was.
        problem: why it could not be told the last time; None when it was.
    """

    def __init__(
        self, name: str, ask: Callable[[], Awaitable[Fact]], *, limit_s: float = 3.0, fresh_s: float = 1.0
    ) -> None:
        """Take whom to ask.

        Args:
            name: of what is looked at, for people.
            ask: tells the fact, or raises OSError, ValueError or HedonicError.
            limit_s: an answer is waited for so long, by a look that goes on beside the page.
            fresh_s: a fact is not asked for again within so long.
        """
        self.name = name
        self.told: Fact | None = None
        self.at: datetime | None = None
        self.problem: str | None = None
        self._ask, self._limit_s, self._fresh_s = ask, limit_s, fresh_s
        self._asked = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None] | None:
        """Return the look that is under way, begun now if need be; None while the fact is fresh."""
        if self._task is not None and not self._task.done():
            return self._task
        if time.monotonic() - self._asked < self._fresh_s:
            return None
        self._task = asyncio.create_task(self._look())
        return self._task

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                told = await self._ask()
        except TimeoutError:
            self.problem = f"no answer in {self._limit_s:g} s"
        except (OSError, ValueError, KeyError, TypeError, HedonicError) as err:
            self.problem = str(err) or type(err).__name__
        else:
            self.told, self.problem, self.at = told, None, datetime.now(UTC)
        self._asked = time.monotonic()


async def refresh(looks: Iterable[Look[Any]], within_s: float) -> None:
    """Return once every look has its answer, or after ``within_s``; what is late comes with the next page."""
    tasks = [task for look in looks if (task := look.begin()) is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=within_s)

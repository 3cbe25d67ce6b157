"""An event loop whose clock leaps over what would be waited for: no stall of the machine is in its times."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Told = TypeVar("Told")


class _Leaping(selectors.DefaultSelector):
    """Adds to its clock what was to be waited, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "all wait for what never comes"
        self.now_s += timeout
        return super().select(0.0)


def run_by_leaps(main: Coroutine[Any, Any, Told]) -> Told:
    """Return what a coroutine comes to; it waits for timers and other coroutines alone, for no thread.

    ``loop.time()`` is exact in it: it begins at 0 and goes on only while all wait.
    """
    selector = _Leaping()

    def make_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now_s  # type: ignore[method-assign]
        return loop

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main)

"""The callers of a durable prediction log, each waiting for the commit of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

Waiter = asyncio.Future[None]


def settle(waiters: Iterable[Waiter], error: Exception | None) -> None:
    """Tell the callers from another thread, one message a loop however many they are.

    Args:
        waiters: those told already are left alone.
        error: why their answers are not durable; None: they are.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        by_loop.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, its_own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell, its_own, error)
        except RuntimeError:  # the loop was closed: nobody waits
            continue


def _tell(waiters: list[Waiter], error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

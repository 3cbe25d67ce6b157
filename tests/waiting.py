"""Waiting in tests: until something is seen, within a limit that only what never comes reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LIMIT_S = 120.0


def wait_for(
    look: Callable[[], Found],
    what: str | Callable[[], str] = "it is seen",
    limit_s: float = LIMIT_S,
    pause_s: float = 0.02,
) -> Found:
    """Return the first that a look finds to be true.

    Args:
        look: asked again and again.
        what: is waited for, or a function that tells what is there instead.
        limit_s: after which it fails.
        pause_s: between two looks; longer where a look costs those who are at work.

    Raises:
        AssertionError: nothing was found within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {limit_s:g} s: {told}")
        time.sleep(pause_s)
    return found


def wait_for_server(look: Callable[[], Found | None], what: str, limit_s: float = LIMIT_S) -> Found:
    """Return the first that a look at a server finds to be true; it may not answer yet.

    A look costs the server as much as some of what it does for a run: one a second.
    """

    def answered() -> Found | None:
        try:
            return look()
        except OSError:
            return None

    found = wait_for(answered, what, limit_s, pause_s=1.0)
    assert found is not None
    return found

"""Leftovers: what a killed process had started, and what would now hold its port."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil

MARKER, NAME = "HEDONIC_SUPERVISED", "HEDONIC_PROCESS"
_LIMIT_S = 5.0


def end_leftovers(watcher: Any, arbiter: Any, hook_name: str, **_: Any) -> bool:
    """Return True once nothing is left of an earlier process of this name: circus starts the next one then.

    A hook of circus, called in its daemon. A server that was killed leaves the children that answer for it
    on its port; they carry its variables.
    """
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            told = process.environ()
            if told.get(NAME) == watcher.env.get(NAME) and told.get(MARKER) == watcher.env.get(MARKER):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=_LIMIT_S)
    return True

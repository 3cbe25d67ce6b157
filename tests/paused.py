"""A training flow that stops at a step of one's choice, so that something can be killed there."""

from __future__ import annotations

from typing import Any

from hedonic.settings import Settings
from tests.project import ROOT

# Deployed in place of flows/train.py: the same flow, whose tasks look for an order to wait when they begin.
PAUSED = """
import os, time
from pathlib import Path

from prefect import Task

import flows.train as story
from flows.train import train

ORDER, WAITS = Path("wait_at"), Path("waits")


def wait(task, run, state):
    while ORDER.exists() and ORDER.read_text() == task.name:
        WAITS.with_suffix(".new").write_text(str(os.getpid()))
        WAITS.with_suffix(".new").rename(WAITS)
        time.sleep(0.05)


for task in vars(story).values():
    if isinstance(task, Task):
        task.on_running(wait)
"""


class Order:
    """Lets the next run wait at a step."""

    def __init__(self, settings: Settings) -> None:
        self._order, self._waits = settings.root / "wait_at", settings.root / "waits"

    def wait_at(self, step: str) -> None:
        self._waits.unlink(missing_ok=True)
        self._order.write_text(step)

    def waiting_process(self) -> int | None:
        """Return the process that waits."""
        return int(self._waits.read_text()) if self._waits.exists() else None

    def go_on(self) -> None:
        self._order.unlink(missing_ok=True)


def pause(settings: Settings, declaration: dict[str, Any]) -> dict[str, Any]:
    """Return the declaration with a training that can be told to wait, its file now in the project."""
    flows = settings.root / "flows"
    flows.unlink()
    flows.mkdir()
    for path in (ROOT / "flows").glob("*.py"):
        (flows / path.name).symlink_to(path)
    (flows / "paused.py").write_text(PAUSED)
    for one in declaration["deployments"]:
        one["entrypoint"] = one["entrypoint"].replace("flows/train.py", "flows/paused.py")
    return declaration

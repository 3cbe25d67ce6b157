"""A training flow that stops at a step of one's choice, so that something can be killed there."""

from __future__ import annotations

from typing import Any

from hedonic.settings import Settings
from tests.project import ROOT

# Deployed in place of flows/train.py: the same flow, whose tasks look for an order to wait in the middle of
# what they do: about to write for the n-th time (a file, a rename, a database opened), or to return.
PAUSED = """
import functools, os, sys, threading, time
from pathlib import Path

from prefect import Task

import flows.train as story
from flows.train import train

ORDER, WAITS = Path("wait_at"), Path("waits")
inside = threading.local()


def ordered():
    try:
        step, write = ORDER.read_text().split()
    except FileNotFoundError:
        return None, 0
    return step, int(write)


def wait(step):
    inside.step = None  # what is written to tell that it waits is none of the step's writes
    while ordered()[0] == step:
        WAITS.with_suffix(".new").write_text(f"{os.getpid()} {step}")
        WAITS.with_suffix(".new").rename(WAITS)
        time.sleep(0.05)


def heard(name, told):
    step = getattr(inside, "step", None)
    if step is None:
        return
    if name in ("os.rename", "sqlite3.connect") or (
        name == "open" and isinstance(told[1], str) and set(told[1]) & set("wax+")
    ):
        inside.left -= 1
        if inside.left == 0:
            wait(step)


def slowed(body, step):
    @functools.wraps(body)
    def run(*args, **kwargs):
        wanted, write = ordered()
        if wanted != step:
            return body(*args, **kwargs)
        inside.step, inside.left = step, write
        try:
            returned = body(*args, **kwargs)
        finally:
            inside.step = None
        wait(step)
        return returned

    return run


sys.addaudithook(heard)
for task in vars(story).values():
    if isinstance(task, Task):
        task.fn = slowed(task.fn, task.name)
"""


class Order:
    """Lets the next run wait at a step."""

    def __init__(self, settings: Settings) -> None:
        self._order, self._waits = settings.root / "wait_at", settings.root / "waits"

    def wait_at(self, step: str, write: int = 1) -> None:
        """Let it wait in the middle of a step: at its how many-th write, or at its end where it has fewer."""
        self._waits.unlink(missing_ok=True)
        ordered = self._order.with_suffix(".new")
        ordered.write_text(f"{step} {write}")
        ordered.replace(self._order)

    def waiting_process(self) -> int | None:
        """Return the process that waits at the step that was ordered last."""
        if not (self._order.exists() and self._waits.exists()):
            return None
        pid, _, step = self._waits.read_text().partition(" ")
        return int(pid) if step == self._order.read_text().split()[0] else None

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

"""Training flows in processes that kill themselves at a step of one's choice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hedonic.settings import Settings

# Imports once, which takes long, and forks a process for each run. A write is counted when it is about to
# happen: a rename, a file opened for writing, a request over HTTP, a commit.
FORKER = """
import functools, json, os, signal, sys

sys.path.insert(0, os.getcwd())
import bentoml, lightgbm, mlflow.pyfunc, sklearn.linear_model
from prefect import Task
from sqlalchemy import event
from sqlalchemy.engine import Engine

import flows.train as story
import hedonic.canary_stage, hedonic.endpoint, hedonic.promotion.bento, hedonic.promotion.comparison
import hedonic.promotion.gate, hedonic.promotion.making, hedonic.promotion.release_store
from hedonic.monitoring.repair import repair
from hedonic.settings import load_settings

left = None


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def count(*_):
    global left
    if left is not None:
        left -= 1
        if left <= 0:
            die()


def heard(name, told):
    if left is None:
        return
    if name in ("os.rename", "os.utime", "urllib.Request"):
        count()
    elif name == "open" and isinstance(told[1], str) and set(told[1]) & set("wax+"):
        count()


def killed(body, point, nth):
    @functools.wraps(body)
    def run(*args, **kwargs):
        global left
        if point == "before":
            die()
        if point == "during":
            left = nth
        body(*args, **kwargs)
        die()

    return run


def child(asked):
    if asked["what"] == "repair":
        first = [one.kind for one in repair(load_settings(), asked["dataset"])]
        again = [one.kind for one in repair(load_settings(), asked["dataset"])]
        return {"found": first, "left": again}
    if asked["step"]:
        sys.addaudithook(heard)
        event.listen(Engine, "commit", count)
        for task in vars(story).values():
            if isinstance(task, Task) and task.name == asked["step"]:
                task.fn = killed(task.fn, asked["point"], asked["nth"])
    result = story.train(**asked["parameters"])
    return {"outcome": result.outcome, "release": result.release}


print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            content = child(asked)
            with open(asked["answer"], "w") as file:
                json.dump(content, file)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Forker:
    """Runs flows in processes of their own, in the folder of one project."""

    def __init__(self, settings: Settings, api: str) -> None:
        self._answer = settings.root / "answer.json"
        self._log = settings.root / "runs.log"
        environment = {
            **os.environ,
            **settings.environment(),
            "PREFECT_API_URL": api,
            "PREFECT_LOCAL_STORAGE_PATH": str(settings.home / "results"),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", FORKER],
                cwd=settings.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._line() == "ready", self.log()

    def train(self, step: str | None = None, point: str = "", nth: int = 1, **parameters: Any) -> Any:
        """Return the outcome of a run; None when it killed itself as it was told."""
        told = {"what": "train", "step": step, "point": point, "nth": nth, "parameters": parameters}
        return self._ask(told, killed=step is not None)

    def repair(self, dataset: str) -> Any:
        """Return what a start of Hedonic finds to be repaired, and what the next one does."""
        return self._ask({"what": "repair", "dataset": dataset}, killed=False)

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        # Not read to its end: the supervisor that a run started holds it, too.
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, told: dict[str, Any], *, killed: bool) -> Any:
        self._answer.unlink(missing_ok=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**told, "answer": str(self._answer)}).encode() + b"\n")
        self._process.stdin.flush()
        code = self._line()
        assert code == ("-9" if killed else "0"), f"{told}: {code}\n{self.log()}"
        return None if killed else json.loads(self._answer.read_text())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


def wipe_since(home: Path, saved: Path, *, whole: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Make a part of ``home`` what it was: ``whole`` is replaced, what is new in ``folders`` removed."""
    for name in whole:
        for path in home.glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in saved.glob(f"{name}*"):
            if path.is_dir():
                shutil.copytree(path, home / path.name)
            else:
                shutil.copy2(path, home / path.name)
    for pattern in folders:
        known = {path.relative_to(saved) for path in saved.glob(pattern)}
        for path in home.glob(pattern):
            if path.relative_to(home) not in known:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

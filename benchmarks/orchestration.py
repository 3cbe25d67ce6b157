"""What orchestration costs: of a default training run, and of one that finds nothing new.

Run it as ``python -m benchmarks.orchestration``. A real Prefect server is started, and the training flow
runs against it twice with the contract's default budget, in a folder of its own.

The cost is the time of the flow outside the bodies of its tasks, and the time inside them in which they tell
the server something (artifacts, progress, name and tags), in percent of the whole. The bodies alone, one
after the other, are what a script would take. The unchanged run is told by the time in its tasks' bodies.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import Settings, find_root, load_settings

if TYPE_CHECKING:
    from prefect import Task

SHARED = ("data", "deployments", "prefect.yaml", "prefect.toml", "bentofile.yaml", "pyproject.toml",
          "requirements.txt", "requirements-serve.txt")  # fmt: skip
# Copied, so that an edit while it runs does not look like new code.
CODE = ("src", "flows", "tasks", "bentos")


@dataclass(slots=True)
class Clock:
    """Seconds by name: of each task's body, and in calls to the server from inside them."""

    bodies: dict[str, float] = field(default_factory=dict)
    telling: float = 0.0

    def body(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the body, timed."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.bodies[name] = self.bodies.get(name, 0.0) + time.perf_counter() - began

        return timed

    def told(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call to the server, timed."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.telling += time.perf_counter() - began

        return timed


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: the whole, the bodies of its tasks, and what they spent on telling the server."""

    outcome: str
    wall_s: float
    bodies: dict[str, float]
    telling_s: float

    @property
    def work_s(self) -> float:
        """Return what the run would take without orchestration."""
        return sum(self.bodies.values()) - self.telling_s

    @property
    def overhead_pct(self) -> float:
        """Return the share of the run that is not work."""
        return 100.0 * (self.wall_s - self.work_s) / self.wall_s


def run_once(dataset: str, trials: int | None) -> Cost:
    """Return the cost of one run of the training flow, in this process, against the server."""
    from prefect import Task

    from flows import train as module
    from tasks import run_page

    tasks: dict[str, Task[..., Any]] = {n: t for n, t in vars(module).items() if isinstance(t, Task)}
    clock, attempt = Clock(), run_page._attempt
    bodies = {name: task.fn for name, task in tasks.items()}
    run_page._attempt = clock.told(attempt)
    for task in tasks.values():
        task.fn = clock.body(task.name, task.fn)
    began = time.perf_counter()
    try:
        result = module.train(dataset=dataset, trials=trials, reason="benchmark")
    finally:
        wall = time.perf_counter() - began
        run_page._attempt = attempt
        for name, task in tasks.items():
            task.fn = bodies[name]
    return Cost(result.outcome, wall, clock.bodies, clock.telling)


@contextmanager
def project(dataset: str) -> Iterator[Settings]:
    """Give a project of the benchmark's own, with a Prefect server that is ready."""
    root = find_root(Path.cwd())
    with tempfile.TemporaryDirectory(prefix="hedonic-orchestration-") as scratch:
        folder = Path(scratch)
        for name in SHARED:
            (folder / name).symlink_to(root / name)
        for name in CODE:
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        contract = yaml.safe_load((root / "expectations" / f"{dataset}.yaml").read_text(encoding="utf-8"))
        contract["serve"] = {**contract.get("serve", {}), "port": _free_port()}
        (folder / "expectations").mkdir()
        (folder / "expectations" / f"{dataset}.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))
        os.environ |= {
            "HEDONIC_ROOT": str(folder),
            "HEDONIC_HOME": str(folder / ".hedonic"),
            "HEDONIC_PORTS__PREFECT": str(_free_port()),
        }
        settings = load_settings()
        settings.home.mkdir()
        os.environ |= settings.environment() | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
        sys.path.insert(0, str(root))
        from hedonic.parts import server_part, start, wait_until_ready
        from hedonic.supervisor import stop_all

        try:
            start(settings, server_part(settings))
            wait_until_ready(settings, server_part(settings), lambda _part: None)
            yield settings
        finally:
            stop_all(settings)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Measure and print a table, or one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    parser.add_argument("--dataset", default="king_county")
    parser.add_argument("--trials", type=int, help="default: the contract's")
    asked = parser.parse_args()
    os.environ.update(NUMERIC_ENVIRONMENT | QUIET_ENVIRONMENT)
    with project(asked.dataset):
        first = run_once(asked.dataset, asked.trials)
        second = run_once(asked.dataset, asked.trials)
    for cost in (first, second):
        print(
            f"{cost.outcome}: {cost.wall_s:.1f} s, of which {cost.work_s:.1f} s work and "
            f"{cost.wall_s - cost.work_s:.1f} s ({cost.overhead_pct:.1f} %) orchestration, "
            f"{cost.telling_s:.1f} s of it telling the server"
        )
        for name, seconds in cost.bodies.items():
            print(f"  {name:<18} {seconds:7.2f} s")
    if second.outcome != "unchanged":
        raise SystemExit(f"the second run was {second.outcome}, not unchanged")
    if asked.json:
        unchanged = sum(second.bodies.values())
        print(json.dumps({"overhead_pct": round(first.overhead_pct, 2), "unchanged_s": round(unchanged, 3)}))


if __name__ == "__main__":
    main()

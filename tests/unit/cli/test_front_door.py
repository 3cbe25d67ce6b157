"""The command as a process, with Prefect itself: in process, quiet, and with the exit codes promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

FLOW = """
import os
from dataclasses import dataclass, field

from prefect import flow, get_run_logger, task

from hedonic.errors import UserError
from hedonic.promotion.verdict import Verdict


@dataclass(frozen=True)
class TrainResult:
    outcome: str = "kept"
    standing: str = "rejected"
    verdict: Verdict = Verdict(promoted=False, kind="kept", reasons=())
    release: str | None = None
    bento: str | None = None
    endpoint: str | None = None
    prediction: dict | None = None
    to_do: str | None = None
    figures: dict = field(default_factory=dict)
    written: dict = field(default_factory=dict)


@task(name="ingest")
def ingest(dataset: str, broken: bool) -> int:
    get_run_logger().info("read 5 rows of %s", dataset)
    if broken:
        raise UserError("data/toy.csv: no such file")
    return 5


@flow(name="train")
def train(dataset: str, seed: int = 0) -> TrainResult:
    ingest.submit(dataset, seed == 13).result()
    return TrainResult(figures={"threads": os.environ["OMP_NUM_THREADS"]})
"""


def hedonic(project, *arguments):
    script = "from hedonic.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    # A port of its own, so that a server which someone runs on the usual one is left alone.
    environment["HEDONIC_PORTS__PREFECT"] = "1"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_a_run_in_process_tells_its_steps_and_nothing_of_prefects(project):
    (project / "flows").mkdir()
    (project / "flows" / "__init__.py").write_text("")
    (project / "flows" / "train.py").write_text(FLOW)
    (project / "tasks").mkdir()
    (project / "tasks" / "__init__.py").write_text("")
    (project / "tasks" / "outcome.py").write_text("def recognise(**_): return None\n")

    good = hedonic(project, "run", "toy", "--json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout.splitlines()[-1])["figures"] == {"threads": "1"}
    assert "ingest" in good.stderr
    assert "read 5 rows of toy" in good.stderr
    assert "Beginning flow run" not in good.stderr
    assert (project / ".hedonic" / "prefect" / "prefect.db").is_file()

    bad = hedonic(project, "run", "toy", "--seed", "13")
    assert bad.returncode == 2
    # A server that Prefect started has the same standard error, and ends after the command.
    told = [line for line in bad.stderr.splitlines() if line.startswith("hedonic:")]
    assert told[-1:] == ["hedonic: data/toy.csv: no such file"]
    assert "Traceback" not in bad.stderr + bad.stdout
    assert "failed" in bad.stdout

"""The benchmark of what orchestration costs runs, and its second run finds nothing new."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.slow


def test_the_benchmark_tells_the_share_of_orchestration_and_what_an_unchanged_run_costs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.orchestration", "--trials", "1", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert 0 < told["overhead_pct"] < 100
    assert told["unchanged_s"] > 0
    first, second = (line for line in done.stdout.splitlines() if "telling the server" in line)
    assert first.startswith("promoted: ")
    assert second.startswith("unchanged: ")

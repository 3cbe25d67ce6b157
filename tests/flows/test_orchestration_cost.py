"""The benchmark of what orchestration costs runs, and its second run finds nothing new."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.drills import FULL, DrillTable
from tests.project import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.drill]


@pytest.mark.skipif(not FULL, reason="it trains King County as by default, which takes minutes: make drills")
def test_the_benchmark_tells_the_share_of_orchestration_and_what_an_unchanged_run_costs(
    drill_table: DrillTable,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.orchestration", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert 0 < told["overhead_pct"] < 5
    assert 0 < told["unchanged_s"] < 2
    found = f"orchestration {told['overhead_pct']:.1f} % of it, the unchanged run {told['unchanged_s']:.2f} s"
    drill_table.add("a training run and the same again", 1, found)
    first, second = (line for line in done.stdout.splitlines() if "telling the server" in line)
    assert first.startswith("promoted: ")
    assert second.startswith("unchanged: ")

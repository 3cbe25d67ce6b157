"""Each comparison and constant of the gate, changed, makes a test fail; a survivor has a written reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drills import FULL, DrillTable
from tests.mutation import TESTS, mutants_of

pytestmark = [pytest.mark.slow, pytest.mark.drill]

ROOT = Path(__file__).parents[3]
EXCUSED = Path(__file__).with_name("gate_survivors.txt")
WHY = "  # why: "
# Ordinary runs try a few of two modules, so that the drill itself is known to work.
FEW = ["own_limits", "paired", "--share", "15", "--first", "3"]


def excuses() -> dict[str, str]:
    """Return the reason for each survivor that is known, by its key."""
    lines = EXCUSED.read_text(encoding="utf-8").splitlines()
    return dict(line.split(WHY) for line in lines if WHY in line)


def test_no_mutant_of_the_gate_survives_without_a_written_reason(drill_table: DrillTable) -> None:
    command = [sys.executable, "-m", "tests.mutation", *(sorted(TESTS) if FULL else FEW)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tried, known = json.loads(done.stdout), excuses()
    for module in dict.fromkeys(mutant["module"] for mutant in tried):
        of = [mutant for mutant in tried if mutant["module"] == module]
        survived = sum(mutant["survived"] for mutant in of)
        told = f"{len(of) - survived} killed by a test, {survived} survived"
        drill_table.add(f"mutants of promotion/{module}.py", len(of), told)
    assert len(tried) >= 4
    assert [mutant["key"] for mutant in tried if mutant["survived"] and mutant["key"] not in known] == []


def test_every_excuse_is_for_a_mutant_that_there_is() -> None:
    there = {mutant.key for module in TESTS for mutant, _ in mutants_of(module)}
    assert [key for key in excuses() if key not in there] == []
    assert all(reason.strip() for reason in excuses().values())


def test_mutants_are_of_what_decides_and_not_of_what_is_said() -> None:
    changes = {f"{mutant.before} -> {mutant.after}" for mutant, _ in mutants_of("paired")}
    assert {"low > limit -> low >= limit", "low > limit -> low <= limit", "30 -> 31"} <= changes
    assert "'issue' -> 'issuex'" in changes
    assert not any("mean absolute" in change for change in changes)

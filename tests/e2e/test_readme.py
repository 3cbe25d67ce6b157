"""The README's commands, in the order in which it gives them, in a clean clone."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.markdown import bash_blocks
from tests.ports import free_port
from tests.project import ROOT

pytestmark = pytest.mark.slow

# Run by whoever runs this test.
ELSEWHERE = {"make test"}


def commands(readme: str) -> list[str]:
    """Return the lines of every ``bash`` block."""
    return [
        line
        for block in bash_blocks(readme)
        for line in block.splitlines()
        if line and not line.startswith("#")
    ]


def bare() -> dict[str, str]:
    """Return the caller's environment without this project's settings and virtual environment."""
    ours = ("HEDONIC_", "PREFECT_", "MLFLOW_", "BENTOML_", "VIRTUAL_ENV", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@functools.cache
def ports() -> dict[str, str]:
    """Return ports of this clone's own: those by default may be in use, of which `hedonic doctor` tells."""
    return {
        f"HEDONIC_PORTS__{name}": str(free_port()) for name in ("FRONT_PAGE", "PREFECT", "MLFLOW", "OPTUNA")
    }


def shell(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env=bare() | ports(),
        capture_output=True,
        text=True,
        timeout=2700,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone of what is committed, with no state and no environment of its own."""
    folder = tmp_path_factory.mktemp("clone") / "hedonic"
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(folder)], check=True)
    yield folder
    shell("make --no-print-directory down", folder)


@pytest.fixture(scope="module")
def told(clone: Path) -> str:
    """What the README's commands printed, one after the other."""
    lines = commands((clone / "README.md").read_text())
    return shell("\n".join(line for line in lines if line not in ELSEWHERE), clone)


def test_the_readme_names_the_two_commands(clone: Path) -> None:
    assert commands((clone / "README.md").read_text())[:2] == ["make run", "make test"]


def test_every_command_of_the_readme_runs_in_a_clean_clone(told: str) -> None:
    assert re.search(r"\d{3},\d{3} USD", told)
    assert "curl -s http://127.0.0.1:3000/predict" in told
    assert "promoted king_county" in told
    assert "promoted california" in told
    assert "hedonic-king_county" in told


def test_a_second_run_on_unchanged_data_trains_nothing(told: str, clone: Path) -> None:
    again = shell("make --no-print-directory run", clone)
    assert "unchanged king_county" in again
    assert "tune" not in again
    assert re.search(r"\d{3},\d{3} USD", again)

"""King County trained in full in other places, by other callers and by another Python: the same bytes.

Not collected by default: `make drills` names it. It takes minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bench import ONE_CPU, Bench, another_caller
from tests.drills import DrillTable
from tests.ports import free_port
from tests.project import ROOT

pytestmark = pytest.mark.drill

DATASET = "king_county"
VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def port() -> int:
    """Return the endpoint's port: it is in the contract, so all trainings have the same, in turn."""
    return free_port()


def trained(
    folder: Path, port: int, *prefix: str, umask: int = 0o022, **options: Any
) -> Mapping[str, str | None]:
    """Return the digests of a full training in a folder of its own."""
    bench = Bench(folder, port, DATASET, **options)
    try:
        return bench.digests(bench.hedonic_run(*prefix, umask=umask))
    finally:
        bench.down()


@pytest.fixture(scope="module")
def first(port: int, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str | None]:
    found = trained(tmp_path_factory.mktemp("first") / "town", port)
    assert all(found.values())
    return found


def test_another_directory_and_caller_give_the_same_bytes(
    first: Mapping[str, str | None], port: int, tmp_path: Path, drill_table: DrillTable
) -> None:
    caller = another_caller(tmp_path)
    second = trained(tmp_path / "other town", port, *ONE_CPU, umask=0o077, changes=caller)
    told = ", ".join(f"{what} {str(digest)[:12]}" for what, digest in second.items() if first[what] == digest)
    drill_table.add("King County trained elsewhere by another caller", 2, f"the same: {told}")
    assert second == first


def another_python() -> Path | None:
    """Return the interpreter of another minor version that we support; None where there is none."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in VERSIONS:
        if version == ours:
            continue
        on_path = shutil.which(f"python{version}")
        kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        for python in [*([Path(on_path)] if on_path else []), *kept]:
            asked = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
            if re.match(rf"Python {re.escape(version)}\.", asked.stdout):
                return python
    return None


@pytest.fixture(scope="module")
def other_binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the commands of an environment made from the lock with another Python."""
    python = another_python()
    if python is None:
        pytest.skip(
            f"no other Python of {', '.join(VERSIONS)} on this machine, on PATH or in ~/.pyenv/versions"
        )
    venv, uv = tmp_path_factory.mktemp("other") / "venv", str(Path(sys.executable).parent / "uv")
    binaries = venv / "bin"
    for command in (
        [uv, "venv", "--quiet", "--python", str(python), str(venv)],
        [uv, "pip", "sync", "--quiet", "--python", str(binaries / "python"), "--require-hashes",
         str(ROOT / "requirements.txt")],
        [uv, "pip", "install", "--quiet", "--python", str(binaries / "python"), "--no-deps",
         "--no-build-isolation", "-e", str(ROOT)],
    ):  # fmt: skip
        subprocess.run(command, check=True, cwd=ROOT)
    return binaries


def test_another_python_gives_the_same_bytes(
    first: Mapping[str, str | None],
    port: int,
    other_binaries: Path,
    tmp_path: Path,
    drill_table: DrillTable,
) -> None:
    second = trained(tmp_path / "town", port, binaries=other_binaries)
    asked = subprocess.run([other_binaries / "python", "-V"], capture_output=True, text=True, check=True)
    told = ", ".join(what for what, digest in second.items() if first[what] == digest)
    drill_table.add(f"King County trained by {asked.stdout.strip()}", 1, f"the same: {told or 'nothing'}")
    assert second == first

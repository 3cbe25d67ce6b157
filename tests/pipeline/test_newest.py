"""The newest versions of everything: green, or the first that breaks us by its name."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile

import pytest

from delivery.newest import Trial, find_upgrades, first_red, kept_bounds, read_pins, without_upper_bound
from tests.pipeline.trees import make, make_tree
from tests.project import ROOT

WORKS, BREAKS = "price = 1\n", "raise RuntimeError('planted')\n"
CHECK = "python -c 'import alder, birch, cedar, dogwood'"
PYPROJECT = """[project]
name = "house"
version = "1"
dependencies = ["alder>=1,<2", "birch>=1", "cedar>=1", "dogwood>=1"]

[tool.hedonic.newest.known-to-break]
"""
LOCK = "".join(f"{name}==1.0\n" for name in ("alder", "birch", "cedar", "dogwood"))


def make_wheel(folder, name, version, content):
    """Write the wheel of a distribution with one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


@pytest.fixture
def index(tmp_path):
    """Return a folder of wheels: all in versions 1 and 2, of which a bound keeps one away."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("alder", "birch", "cedar", "dogwood"):
        make_wheel(folder, name, "1.0", WORKS)
        make_wheel(folder, name, "2.0", WORKS)
    return folder


@pytest.fixture
def newest(tmp_path, index):
    """Return what came of the target on a project whose packages come from the folder alone."""
    tree = make_tree(tmp_path / "tree", {})
    for name, content in (("pyproject.toml", PYPROJECT), ("requirements.txt", LOCK)):
        (tree / name).unlink()
        (tree / name).write_text(content)

    def run(**more):
        return make(
            tree, "newest", UV_NO_INDEX="1", UV_FIND_LINKS=str(index), UV_OFFLINE="1",
            UV_CACHE_DIR=str(tmp_path / "cache"),
            NEWEST=f'--check "{CHECK}" --no-extras --python {sys.executable}', **more,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_newer_versions_that_work_are_green(newest):
    done = newest()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "newer: birch 1.0 -> 2.0" in done.stdout
    assert "alder" not in done.stdout  # its bound holds
    assert "3 newer versions, and all is green" in done.stdout


@pytest.mark.slow
def test_the_first_release_that_breaks_us_is_named(newest, index):
    make_wheel(index, "cedar", "2.0", BREAKS)
    done = newest()
    assert done.returncode != 0
    assert "the first that breaks us: cedar 1.0 -> 2.0" in done.stderr
    assert "RuntimeError: planted" in done.stderr


@pytest.mark.slow
def test_beyond_our_bounds_a_release_that_a_bound_keeps_away_is_found(newest, index):
    make_wheel(index, "alder", "2.0", BREAKS)
    within = newest()
    assert within.returncode == 0, within.stderr
    beyond = newest(LIFT_BOUNDS="true")
    assert beyond.returncode != 0
    assert "the first that breaks us: alder 1.0 -> 2.0" in beyond.stderr


@pytest.mark.slow
def test_a_lock_that_is_red_by_itself_blames_nobody(newest, index):
    make_wheel(index, "birch", "1.0", BREAKS)
    done = newest()
    assert done.returncode != 0
    assert "the locked versions are red by themselves" in done.stderr
    assert "first that breaks us" not in done.stderr


@pytest.mark.parametrize("culprit", range(1, 18))
def test_halving_finds_the_least_red_number_and_asks_little(culprit):
    asked = []

    def trial(n):
        asked.append(n)
        return Trial(f"red at {n}" if n >= culprit else None)

    place, found = first_red(17, trial, Trial("red at 17"))
    assert (place, found.failure) == (culprit, f"red at {culprit}" if culprit < 17 else "red at 17")
    assert len(asked) <= 5


def test_a_universal_lock_is_read_for_this_interpreter_and_an_older_version_is_no_upgrade(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "numpy==2.4.6 ; python_full_version < '3.0' \\\n    --hash=sha256:0\n"
        "numpy==2.5.5 ; python_full_version >= '3.0' \\\n    --hash=sha256:0\n"
        "UV_build==1 \\\n"
    )
    assert read_pins(lock) == {"numpy": "2.5.5", "uv-build": "1"}
    newest = {"numpy": "2.4.6", "uv-build": "1.0.1", "new": "1"}
    assert [str(upgrade) for upgrade in find_upgrades(read_pins(lock), newest)] == ["uv-build 1 -> 1.0.1"]


def test_the_bounds_that_we_know_are_needed_stay_when_the_others_arewithout_upper_bound():
    assert "fastapi" in kept_bounds(ROOT)
    assert without_upper_bound("fastapi>=0.139,<0.151", ["fastapi"]) == "fastapi>=0.139,<0.151"
    assert (
        without_upper_bound("numpy>=2.4,<2.6 ; sys_platform == 'linux'", [])
        == 'numpy>=2.4; sys_platform == "linux"'
    )

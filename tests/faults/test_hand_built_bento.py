"""A bento that was built by hand of a release that was never promoted is not served."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hedonic.promotion.bento import Bento, build_bento
from hedonic.settings import Settings
from tests.kept_home import record
from tests.ports import free_port
from tests.serving.conftest import READY_LIMIT_S, ROOT, serving_environment
from tests.tiny_release import tiny_model, tiny_release
from tests.unit.promotion.test_bento import copied_project

pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a project with a champion in its history."""
    root = copied_project(tmp_path_factory.mktemp("project"))
    shutil.copy(ROOT / "bentofile.yaml", root)
    shutil.copy(ROOT / "prefect.yaml", root)
    made = Settings(root=root, home=root / "state")
    record(made, "promoted", release=tiny_release(made.releases, tiny_model(seed=1)).name)
    return made


@pytest.fixture(scope="module")
def unpromoted(settings: Settings) -> Path:
    """Return a release that is whole, and that no gate let through."""
    return tiny_release(settings.releases, tiny_model(seed=2))


@pytest.fixture(scope="module")
def bento(settings: Settings, unpromoted: Path) -> Bento:
    """Return a bento of it: whoever builds by hand can say what he likes."""
    return build_bento(settings.root, unpromoted, settings.bentos, promoted=True)


def environment(settings: Settings) -> dict[str, str]:
    return {
        name: value
        for name, value in serving_environment(settings.home).items()
        if name not in ("HEDONIC_ROOT", "HEDONIC_DATASET", "PYTHONPATH")
    }


def command(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "bentoml", "serve", "--port", str(port), str(folder)]


def refused(settings: Settings, folder: Path) -> str:
    """Return what was told by a service that ended before it listened."""
    ended = subprocess.run(
        command(folder, free_port()), cwd=folder, env=environment(settings), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "listening" not in (ended.stdout + ended.stderr).lower()
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_bento_of_a_release_that_was_never_promoted_is_refused_where_the_history_can_be_seen(
    settings: Settings, bento: Bento, unpromoted: Path
) -> None:
    told = refused(settings, bento.folder)
    assert f"release {unpromoted.name[:16]}: baked into this bento" in told
    assert "does not name it as promoted" in told


def test_bentoml_build_in_the_project_makes_a_bento_that_holds_nothing_and_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    store = {**os.environ, **environment(settings), "BENTOML_HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag", "--version", "byhand", "."],
        cwd=settings.root, env=store, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    told = refused(settings, tmp_path / "bentos" / "hedonic" / "byhand")
    assert "holds 0 releases in baked_release, not 1. Bentos are built by a promoting run" in told


def test_the_same_bento_is_let_through_once_its_release_was_promoted(
    settings: Settings, bento: Bento, unpromoted: Path, tmp_path: Path
) -> None:
    record(settings, "promoted", release=unpromoted.name, bento=bento.tag)
    log = tmp_path / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command(bento.folder, free_port()), cwd=bento.folder, env=environment(settings), stdout=file,
            stderr=file,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_LIMIT_S
        while "listening on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)

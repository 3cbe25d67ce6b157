"""One project a module for the flow tests: making it costs many seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from tests.project import make_project


@contextmanager
def results_in(folder: Path) -> Iterator[None]:
    """Let Prefect keep results below ``folder``; its settings were read before a test could say so."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder}):
        yield


@pytest.fixture(scope="module")
def project(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A project of the module's own, in whose folder the flows run."""
    settings = make_project(tmp_path_factory.mktemp("project") / "town")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEDONIC_ROOT", str(settings.root))
        patch.setenv("HEDONIC_HOME", str(settings.home))
        patch.setenv("HEDONIC_STORE_URL", str(settings.root / "store"))
        for name, value in settings.environment().items():
            if not name.startswith("PREFECT"):
                patch.setenv(name, value)
        settings.home.mkdir(parents=True)
        with results_in(settings.home / "results"):
            yield settings
    stop_all(settings)

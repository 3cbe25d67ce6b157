"""A home in which something was made and asked; each test gets a copy that it may break."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lived_in import LivedIn, lived_in


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LivedIn:
    """Return the home that nothing is changed in."""
    return lived_in(tmp_path_factory.mktemp("lived_in") / "town")


@pytest.fixture
def home(whole: LivedIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LivedIn:
    """Return a copy of the home that a test may break; the environment names no other."""
    for name in list(os.environ):
        if name.startswith(("HEDONIC_", "MLFLOW_TRACKING")):
            monkeypatch.delenv(name)
    return whole.moved(tmp_path / "town")

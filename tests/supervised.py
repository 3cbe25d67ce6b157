"""A HEDONIC_HOME of a test's own whose supervised processes end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hedonic.settings import Settings
from hedonic.supervisor import stop_all

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Return the settings of a project with an empty home."""
    home = tmp_path / ".hedonic"
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    settings = Settings(root=ROOT, home=home)
    yield settings
    stop_all(settings)

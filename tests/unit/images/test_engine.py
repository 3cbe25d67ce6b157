"""The engine's builds: with a cache of layers by the builder that keeps it, else by the engine's own."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from hedonic.images.engine import Engine, Recipe

NAME = "hedonic-town:0123456789abcdef"
DOCKER = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], sorted(os.environ)]))
"""


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Return what a command ``docker`` is called with, and the names of what it has in its environment."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(python=sys.executable))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent))
    for name in ("BUILDX_CACHE", "BUILDX_BUILDER"):
        monkeypatch.delenv(name, raising=False)
    built = SimpleNamespace(id="sha256:1", attrs={"Size": 1}, labels={})
    engine = Engine(SimpleNamespace(images=SimpleNamespace(get=lambda name: built)))

    def called():
        log = tmp_path / "log"
        engine.build(NAME, Recipe(context=tmp_path, file=tmp_path / "Dockerfile"), log)
        return json.loads(log.read_text())

    return called


def test_without_a_cache_the_engines_own_builder_builds(build):
    command, _ = build()
    assert command[:3] == ["build", "--progress=plain", "--tag"]
    assert not [word for word in command if word.startswith("--cache")]


def test_a_cache_is_read_and_left_by_the_very_build_that_makes_the_image(build, monkeypatch):
    monkeypatch.setenv("BUILDX_CACHE", "/tmp/layers")
    command, _ = build()
    assert command[:3] == ["buildx", "build", "--load"]
    assert command[command.index("--tag") + 1] == NAME
    assert "--cache-from=type=local,src=/tmp/layers" in command
    assert "--cache-to=type=local,dest=/tmp/layers,mode=max" in command


def test_a_builder_that_is_named_is_the_one_that_builds_and_no_secret_goes_along(build, monkeypatch):
    monkeypatch.setenv("BUILDX_BUILDER", "kept")
    monkeypatch.setenv("HEDONIC_API_TOKEN", "secret")
    _, environment = build()
    assert "BUILDX_BUILDER" in environment
    assert "HEDONIC_API_TOKEN" not in environment

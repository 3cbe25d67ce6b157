"""``hedonic image``, as far as it goes without an engine; the rest is in tests/containers."""

import json

import pytest

from hedonic.images.book import ImageBook
from hedonic.images.engine import Image
from hedonic.settings import Settings


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_with_nothing_built_it_says_how_to_build(hedonic):
    code, out, _ = hedonic("image")
    assert (code, out) == (0, "no image yet. Build one with: hedonic image DATASET\n")
    assert json.loads(hedonic("image", "--json")[1]) == {"images": []}


def test_what_was_built_and_pushed_is_listed(hedonic, project):
    book = ImageBook(Settings(root=project, home=project / ".hedonic"))
    built = book.write(Image("hedonic-toy:aa", "sha256:1", 412_000_000, {"hedonic.release": "e" * 64}), "{}")
    book.pushed(built, "ghcr.io/me/toy:aa", "sha256:9")
    code, out, _ = hedonic("image")
    assert code == 0
    for told in ("hedonic-toy:aa", "412", "eeeeeeeeeeee", "aa.cdx.json", "ghcr.io/me/toy:aa@sha256:9"):
        assert told in out
    (one,) = json.loads(hedonic("image", "--json")[1])["images"]
    assert one["pushed"] == {"ghcr.io/me/toy:aa": "sha256:9"}


def test_without_an_engine_it_says_so_and_what_to_do(hedonic, no_engine):
    code, _, err = hedonic("image", "toy")
    assert code == 2
    assert "no container engine answers" in err
    assert "Start Docker, or set DOCKER_HOST" in err


def test_a_push_needs_a_name(hedonic):
    code, _, err = hedonic("image", "--push", "ghcr.io/me/toy")
    assert (code, "hedonic image NAME --push REGISTRY/NAME" in err) == (2, True)

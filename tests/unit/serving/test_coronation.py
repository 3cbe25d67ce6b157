"""A release that was baked into a bento by hand is refused where the history can be seen."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hedonic.errors import ReleaseRefused
from hedonic.promotion.history import Entry, History
from hedonic.served_settings import SourceSettings
from hedonic.serving.coronation import require_promoted
from hedonic.serving.source import Source

PROMOTED, REJECTED, BACK = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(params=["in the home", "a file", "postgres"])
def seen(request: pytest.FixtureRequest, tmp_path: Path) -> SourceSettings:
    """Return settings by which a history can be seen, of releases that were promoted and one that was not."""
    home, url = tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'history.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url").replace("postgresql://", "postgresql+psycopg://")
    history = History(url)
    for kind, release in (
        ("promoted", BACK),
        ("promoted", PROMOTED),
        ("refused", REJECTED),
        ("rolled_back", BACK),
    ):
        champion = history.champion("tiny_town")
        history.append(
            Entry(dataset="tiny_town", kind=kind, release=release, actor="ana", reason="nightly"),
            expected_champion=champion.release if champion else None,
        )
    history.close()
    if request.param == "in the home":
        return SourceSettings(home=home)
    return SourceSettings(home=None, history_url=url)


def baked(release: str) -> Source:
    return Source("baked", "baked", release, Path("/bento/src/baked_release") / release)


def test_a_baked_release_that_was_promoted_is_served(seen: SourceSettings) -> None:
    require_promoted(baked(PROMOTED), seen)
    require_promoted(baked(BACK), seen)


@pytest.mark.parametrize("release", [REJECTED, "d" * 64])
def test_a_baked_release_that_was_never_promoted_is_refused(seen: SourceSettings, release: str) -> None:
    with pytest.raises(
        ReleaseRefused, match=f"{release[:16]}: baked into this bento.*does not name it as prom"
    ):
        require_promoted(baked(release), seen)


def test_a_release_that_is_not_baked_in_is_none_of_its_business(seen: SourceSettings) -> None:
    require_promoted(Source("/releases/x", "folder", REJECTED, Path("/releases/x")), seen)


def test_where_no_history_can_be_seen_what_is_baked_in_is_served(tmp_path: Path) -> None:
    require_promoted(baked(REJECTED), SourceSettings(home=None))
    require_promoted(baked(REJECTED), SourceSettings(home=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_history_that_cannot_be_asked_is_told_and_refuses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history.db").write_text("not a database, and long enough to be taken for the header of one")
    away = SourceSettings(home=None, history_url="postgresql+psycopg://ana:secret@127.0.0.1:9/none")
    with caplog.at_level(logging.WARNING, "hedonic.serving"):
        require_promoted(baked(REJECTED), SourceSettings(home=tmp_path))
        require_promoted(baked(REJECTED), away)
    assert caplog.text.count("whether the release was promoted is not known") == 2
    assert "secret" not in caplog.text

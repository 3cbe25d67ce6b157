"""What was baked in, pointed at or given an alias by hand is refused where the history can be seen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bentos import worker
from hedonic.errors import ReleaseRefused
from hedonic.promotion.history import Entry, History
from hedonic.served_settings import SourceSettings
from hedonic.serving.coronation import require_crowned
from hedonic.serving.rollout import Rollout
from hedonic.serving.source import Source

PROMOTED, REJECTED, BACK, PARKED = "a" * 64, "b" * 64, "c" * 64, "e" * 64


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
        ("parked", PARKED),
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
    require_crowned(baked(PROMOTED), seen)
    require_crowned(baked(BACK), seen)


@pytest.mark.parametrize("release", [REJECTED, "d" * 64])
def test_a_baked_release_that_was_never_promoted_is_refused(seen: SourceSettings, release: str) -> None:
    with pytest.raises(
        ReleaseRefused, match=f"{release[:16]}: baked into this bento.*does not name it as prom"
    ):
        require_crowned(baked(release), seen)


def test_a_release_that_is_not_baked_in_is_none_of_its_business(seen: SourceSettings) -> None:
    require_crowned(Source("/releases/x", "folder", REJECTED, Path("/releases/x")), seen)


def alias(release: str, name: str = "champion") -> Source:
    uri = f"models:/hedonic-tiny_town@{name}"
    return Source(uri, "registry", release, Path("/releases") / release, dataset="tiny_town")


def pointer(release: str) -> Source:
    return Source("champion:tiny_town", "champion", release, Path("/releases") / release, dataset="tiny_town")


@pytest.mark.parametrize("named", [alias, pointer])
def test_what_names_the_champion_of_the_history_is_served(
    seen: SourceSettings, named: Callable[[str], Source]
) -> None:
    require_crowned(named(BACK), seen)
    require_crowned(named(BACK), seen, starts=True)


@pytest.mark.parametrize("named", [alias, pointer])
@pytest.mark.parametrize("release", [PROMOTED, PARKED, REJECTED, "d" * 64])
def test_what_was_moved_by_hand_to_another_release_is_refused_and_told(
    seen: SourceSettings, named: Callable[[str], Source], release: str
) -> None:
    with pytest.raises(
        ReleaseRefused, match=f"{release[:16]}: .*tiny_town.* names it.*the champion.*{BACK[:16]}"
    ):
        require_crowned(named(release), seen)


def test_an_alias_of_another_data_set_finds_no_champion(seen: SourceSettings) -> None:
    with pytest.raises(ReleaseRefused, match="the champion of the history .* is none"):
        require_crowned(replace(alias(BACK), dataset="old_town"), seen)


def test_at_a_start_a_pointer_may_be_behind_the_history_and_an_alias_may_not(seen: SourceSettings) -> None:
    require_crowned(pointer(PROMOTED), seen, starts=True)
    with pytest.raises(ReleaseRefused, match="is not served"):
        require_crowned(pointer(REJECTED), seen, starts=True)
    with pytest.raises(ReleaseRefused, match="is not served"):
        require_crowned(alias(PROMOTED), seen, starts=True)


def test_another_alias_names_a_release_that_was_promoted_or_parked(seen: SourceSettings) -> None:
    require_crowned(alias(PARKED, "challenger"), seen)
    require_crowned(alias(PROMOTED, "challenger"), seen)
    with pytest.raises(ReleaseRefused, match="neither as promoted nor as parked"):
        require_crowned(alias(REJECTED, "challenger"), seen)


def test_where_no_history_can_be_seen_an_alias_is_believed(tmp_path: Path) -> None:
    require_crowned(alias(REJECTED), SourceSettings(home=None))
    require_crowned(alias(REJECTED), SourceSettings(home=tmp_path))


def test_an_alias_moved_by_hand_does_not_change_what_is_served_and_is_reported_until_it_is_back(
    seen: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = alias(BACK)
    monkeypatch.setattr(worker, "find_source_of", lambda *_: named)
    monkeypatch.setattr(worker, "source_settings", lambda: seen)
    monkeypatch.setattr(worker.WORKER, "rollout", None)

    def load(source: Source) -> Any:
        return SimpleNamespace(model=SimpleNamespace(release=source.release))

    counted: list[str] = []
    rollout = Rollout(load, worker.find_source, counted.append)
    monkeypatch.setattr(worker.WORKER, "rollout", rollout)
    named = alias(PROMOTED)  # by hand
    rollout.follow()
    rollout.follow()
    assert rollout.served.release.model.release == BACK
    assert rollout.refused is not None
    assert "names it, and the champion of the history" in rollout.refused.reason
    assert counted == ["refused"]  # told once, not at every look
    named = alias(BACK)
    rollout.follow()
    assert (rollout.refused, rollout.served.release.model.release) == (None, BACK)


def test_where_no_history_can_be_seen_what_is_baked_in_is_served(tmp_path: Path) -> None:
    require_crowned(baked(REJECTED), SourceSettings(home=None))
    require_crowned(baked(REJECTED), SourceSettings(home=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_history_that_cannot_be_asked_is_told_and_refuses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history.db").write_text("not a database, and long enough to be taken for the header of one")
    away = SourceSettings(home=None, history_url="postgresql+psycopg://ana:secret@127.0.0.1:9/none")
    with caplog.at_level(logging.WARNING, "hedonic.serving"):
        require_crowned(baked(REJECTED), SourceSettings(home=tmp_path))
        require_crowned(baked(REJECTED), away)
    assert caplog.text.count("whether the release was promoted is not known") == 2
    assert "secret" not in caplog.text

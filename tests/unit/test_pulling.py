"""The champion of a shared history, pulled: never taken for none when it cannot be reached."""

from __future__ import annotations

import shutil

import pytest

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.promotion.history import History, WrongEnvironment
from hedonic.promotion.record import Entry
from hedonic.promotion.release_store import publish_release
from hedonic.pulling import pull_champion
from hedonic.settings import Settings
from tests.ports import free_port
from tests.s3 import BUCKET, s3
from tests.tiny_release import tiny_release

__all__ = ["s3"]

DATASET = "tiny_town"


def crown(url, release):
    history = History(url)
    entry = Entry(dataset=DATASET, kind="promoted", release=release, actor="someone", reason="a test")
    history.append(entry, expected_champion=None)
    history.close()


@pytest.fixture
def shared(tmp_path):
    """Return the settings of a machine that has nothing, and the release that elsewhere is champion."""
    release = tiny_release(tmp_path / "elsewhere")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    crown(url, release.name)
    publish_release(release, str(tmp_path / "store"))
    home = tmp_path / "here"
    return Settings(root=tmp_path, home=home, history_url=url, store_url=str(tmp_path / "store")), release


def test_the_champion_and_its_release_are_brought_here(shared):
    settings, release = shared
    pulled = pull_champion(settings, DATASET)
    assert pulled.champion.release == release.name
    assert pulled.folder == settings.releases / DATASET / release.name
    assert (pulled.folder / "manifest.json").read_bytes() == (release / "manifest.json").read_bytes()
    again = pull_champion(settings, DATASET, bootstrap=True)
    assert again == pulled


@pytest.mark.slow
def test_the_release_comes_from_s3_too(shared, s3, tmp_path):
    settings, release = shared
    store = f"s3://{BUCKET}/releases"
    publish_release(release, store)
    pulled = pull_champion(settings.model_copy(update={"store_url": store}), DATASET)
    assert pulled.folder.name == release.name


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"history_url": "postgresql+psycopg://nobody@127.0.0.1:{port}/none?connect_timeout=5"},
            "history postgresql",
        ),
        ({"store_url": "{elsewhere}"}, "cannot be copied from the store"),
        ({"history_url": None}, "HEDONIC_HISTORY_URL not set"),
        ({"store_url": None}, "HEDONIC_STORE_URL not set"),
        ({"history_url": ""}, "HEDONIC_HISTORY_URL not set"),
        ({"store_url": ""}, "HEDONIC_STORE_URL not set"),
    ],
)
def test_what_cannot_be_reached_fails_with_and_without_bootstrap(shared, tmp_path, change, told, bootstrap):
    places = {"port": free_port(), "elsewhere": tmp_path / "unmounted"}
    changed = {name: value and value.format(**places) for name, value in change.items()}
    settings = shared[0].model_copy(update=changed)
    with pytest.raises(HedonicError, match=told):
        pull_champion(settings, DATASET, bootstrap=bootstrap)
    assert not list(settings.home.glob("releases/*/*"))


def test_an_s3_that_is_down_fails(shared, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr("hedonic.model.object_store._RETRY_S", 0)
    with pytest.raises(HedonicError, match="cannot be read"):
        pull_champion(shared[0].model_copy(update={"store_url": "s3://hedonic/releases"}), DATASET)


def test_the_history_of_another_environment_is_refused(shared):
    settings = shared[0].model_copy(update={"environment_name": "staging"})
    with pytest.raises(WrongEnvironment, match="this process is of staging"):
        pull_champion(settings, DATASET, bootstrap=True)


def test_a_history_that_is_not_there_is_not_made(shared, tmp_path):
    gone = tmp_path / "gone.db"
    settings = shared[0].model_copy(update={"history_url": f"sqlite:///{gone}"})
    with pytest.raises(HedonicError, match="no such file"):
        pull_champion(settings, DATASET)
    assert not gone.exists()


def test_no_champion_is_a_failure_unless_the_first_one_is_asked_for(shared):
    settings, _ = shared
    with pytest.raises(HedonicError, match="names no champion"):
        pull_champion(settings, "another_town")
    assert pull_champion(settings, "another_town", bootstrap=True).champion is None


def test_a_project_that_shares_nothing_may_begin_when_it_says_so(tmp_path):
    settings = Settings(root=tmp_path, home=tmp_path / "here")
    with pytest.raises(HedonicError, match="HEDONIC_HISTORY_URL and HEDONIC_STORE_URL not set"):
        pull_champion(settings, DATASET)
    assert pull_champion(settings, DATASET, bootstrap=True).champion is None


def test_a_release_that_is_not_whole_in_the_store_is_refused_and_not_kept(shared, tmp_path):
    settings, release = shared
    next((tmp_path / "store" / DATASET / release.name / "model").glob("*.json")).write_text("{}")
    with pytest.raises(ReleaseRefused, match="changed"):
        pull_champion(settings, DATASET)
    assert not (settings.releases / DATASET / release.name).exists()


def test_a_store_that_lost_the_champion_fails(shared, tmp_path):
    settings, release = shared
    shutil.rmtree(tmp_path / "store" / DATASET / release.name)
    with pytest.raises(HedonicError, match="cannot be copied from the store"):
        pull_champion(settings, DATASET)

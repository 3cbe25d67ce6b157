"""Where the served release comes from."""

import json

import pytest

from hedonic.errors import ReleaseRefused, UserError
from hedonic.serving.source import BAKED, baked_source, champion_source

DIGEST = "a" * 64


def point(home, **changes):
    pointer = {"format_version": 1, "dataset": "tiny_town", "release": DIGEST, "promoted_at": "now",
               "folder": f"releases/tiny_town/{DIGEST}", "bento": None}  # fmt: skip
    (home / "serving").mkdir()
    (home / "serving" / "tiny_town.json").write_text(json.dumps({**pointer, **changes}))


def test_the_pointer_names_the_champion(tmp_path):
    point(tmp_path, bento="hedonic-tiny_town:0123")
    folder = tmp_path / "releases" / "tiny_town" / DIGEST
    folder.mkdir(parents=True)
    source = champion_source(tmp_path, "tiny_town")
    assert (source.folder, source.release, source.bento) == (folder, DIGEST, "hedonic-tiny_town:0123")
    assert source.origin == "champion"


def test_without_a_champion_it_says_to_run_first(tmp_path):
    with pytest.raises(UserError, match="tiny_town: no champion to serve yet .* Run `make run` first"):
        champion_source(tmp_path, "tiny_town")


def test_a_pointer_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "tiny_town.json").write_text('{"dataset": ')
    with pytest.raises(ReleaseRefused, match="not a pointer"):
        champion_source(tmp_path, "tiny_town")


@pytest.mark.parametrize("changes", [{}, {"dataset": "other_town"}])
def test_a_pointer_to_what_is_not_there_is_refused(tmp_path, changes):
    point(tmp_path, **changes)
    with pytest.raises(ReleaseRefused, match="which is not there"):
        champion_source(tmp_path, "tiny_town")


def test_a_bento_serves_the_release_that_is_baked_into_it(tmp_path):
    folder = tmp_path / "bento" / "src" / BAKED / DIGEST
    folder.mkdir(parents=True)
    source = baked_source(tmp_path / "bento" / "src")
    assert source is not None
    assert (source.folder, source.release, source.origin) == (folder, DIGEST, "baked")


def test_the_project_s_folder_is_no_bento(tmp_path):
    assert baked_source(tmp_path) is None


@pytest.mark.parametrize("n_releases", [0, 2])
def test_a_bento_without_exactly_one_release_is_refused(tmp_path, n_releases):
    (tmp_path / "bento" / "src").mkdir(parents=True)
    (tmp_path / "bento" / "bento.yaml").touch()
    for n in range(n_releases):
        (tmp_path / "bento" / "src" / BAKED / (str(n) * 64)).mkdir(parents=True)
    with pytest.raises(ReleaseRefused, match=f"holds {n_releases} releases"):
        baked_source(tmp_path / "bento" / "src")

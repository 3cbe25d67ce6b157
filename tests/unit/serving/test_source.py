"""Where the served release comes from."""

import json
import os

import pytest

from hedonic.errors import ReleaseRefused, UserError
from hedonic.served_settings import SourceSettings, read_source_settings
from hedonic.serving.source import BAKED, baked_source, champion_source, find_source, resolve
from tests.registry import registry_server

DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("HOME", "DATASET", "RELEASE_URI", "RELEASE", "FOLLOW_S", "STORE_URL"):
        monkeypatch.delenv(f"HEDONIC_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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
    assert (source.kind, source.uri, source.moves) == ("champion", "champion:tiny_town", True)


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
    assert (source.folder, source.release, source.kind) == (folder, DIGEST, "baked")
    assert not source.moves


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


def baked(tmp_path):
    """Return the folder of the sources of a bento that holds a release."""
    (tmp_path / "bento" / "src" / BAKED / DIGEST).mkdir(parents=True)
    return tmp_path / "bento" / "src"


def test_with_nothing_set_a_bento_serves_what_is_baked_in_and_a_project_its_champion(tmp_path):
    point(tmp_path)
    (tmp_path / "releases" / "tiny_town" / DIGEST).mkdir(parents=True)
    settings = SourceSettings(home=tmp_path, dataset="tiny_town")
    assert find_source(settings, baked(tmp_path)).kind == "baked"
    assert find_source(settings, tmp_path).uri == "champion:tiny_town"


def test_a_uri_goes_before_what_is_baked_in(tmp_path):
    settings = SourceSettings(release_uri=f"/releases/{OTHER}")
    source = find_source(settings, baked(tmp_path))
    assert (source.kind, source.release) == ("folder", OTHER)


def test_a_uri_that_cannot_be_followed_is_no_reason_to_serve_what_is_baked_in(tmp_path):
    settings = SourceSettings(home=tmp_path, release_uri="champion:tiny_town")
    with pytest.raises(UserError, match="no champion to serve yet"):
        find_source(settings, baked(tmp_path))


@pytest.mark.parametrize("uri", [None, "champion:tiny_town", f"/releases/{DIGEST}"])
def test_another_digest_than_the_one_asked_for_is_refused(tmp_path, uri):
    point(tmp_path)
    (tmp_path / "releases" / "tiny_town" / DIGEST).mkdir(parents=True)
    asked = SourceSettings(home=tmp_path, release_uri=uri, release=DIGEST)
    code = baked(tmp_path) if uri is None else tmp_path
    assert find_source(asked, code).release == DIGEST
    if uri and uri.startswith("/"):  # a folder's name is what it holds only as long as nothing else is said
        assert find_source(asked.model_copy(update={"release": OTHER}), code).release == OTHER
        return
    with pytest.raises(ReleaseRefused, match=f"names release {DIGEST}, and HEDONIC_RELEASE asks for {OTHER}"):
        find_source(asked.model_copy(update={"release": OTHER}), code)


@pytest.mark.parametrize("prefix", ["/srv/releases/", "file:///srv/releases/", "s3://bucket/releases/"])
def test_a_folders_release_is_the_last_part_of_its_address(tmp_path, prefix):
    source = resolve(f"{prefix}{DIGEST}", SourceSettings(home=tmp_path))
    assert (source.release, source.moves) == (DIGEST, False)
    assert source.kind == ("s3" if prefix.startswith("s3") else "folder")


def test_a_folder_of_another_name_needs_the_digest_beside_it(tmp_path):
    for uri in ("/srv/releases/latest", "file:///srv/releases/latest", "s3://bucket/latest"):
        with pytest.raises(UserError, match=r"last part is not a release digest .* Set HEDONIC_RELEASE"):
            resolve(uri, SourceSettings(home=tmp_path))
        assert resolve(uri, SourceSettings(home=tmp_path, release=DIGEST)).release == DIGEST


def test_a_release_in_s3_is_copied_into_the_home_or_where_there_is_none_to_a_private_folder(tmp_path):
    uri = f"s3://bucket/releases/{DIGEST}"
    source = resolve(uri, SourceSettings(home=tmp_path))
    assert (source.folder, source.remote) == (tmp_path / "fetched" / DIGEST, uri)
    elsewhere = resolve(uri, SourceSettings(home=tmp_path / "not there"))
    assert not elsewhere.folder.is_relative_to(tmp_path)
    assert elsewhere.folder == resolve(uri, SourceSettings()).folder


@pytest.mark.parametrize("uri", ["releases/latest", f"gs://bucket/{DIGEST}", "champion", "models:/x"])
def test_a_uri_of_no_known_form_is_refused_with_the_forms_that_are(uri):
    with pytest.raises(UserError, match="HEDONIC_RELEASE_URI: .* Give champion:<data set>, models:/hedonic-"):
        resolve(uri, SourceSettings())


def test_the_champion_s_pointer_needs_a_home():
    with pytest.raises(UserError, match="HEDONIC_HOME is not set"):
        resolve("champion:tiny_town", SourceSettings())


def test_a_pointer_that_is_written_again_is_another_look_at_the_same_release(tmp_path):
    point(tmp_path)
    (tmp_path / "releases" / "tiny_town" / DIGEST).mkdir(parents=True)
    first = champion_source(tmp_path, "tiny_town")
    assert champion_source(tmp_path, "tiny_town") == first
    os.utime(tmp_path / "serving" / "tiny_town.json", (1, 1))
    again = champion_source(tmp_path, "tiny_town")
    assert (again.release, again != first) == (first.release, True)


def test_an_alias_names_a_release_of_the_store(tmp_path):
    with registry_server({("hedonic-tiny_town", "champion"): ("7", DIGEST)}) as url:
        settings = SourceSettings(home=tmp_path, tracking_uri=url, release=OTHER)
        source = resolve("models:/hedonic-tiny_town@champion", settings)
        assert (source.kind, source.release, source.moves) == ("registry", DIGEST, True)
        assert source.folder == tmp_path / "releases" / "tiny_town" / DIGEST
        assert (source.dataset, source.remote) == ("tiny_town", None)
        far = settings.model_copy(update={"store_url": "s3://bucket/releases/"})
        there = resolve("models:/hedonic-tiny_town@champion", far)
        assert there.remote == f"s3://bucket/releases/tiny_town/{DIGEST}"
        assert there.folder == tmp_path / "fetched" / DIGEST
        with pytest.raises(UserError, match="Set HEDONIC_STORE_URL"):
            resolve("models:/hedonic-tiny_town@champion", settings.model_copy(update={"home": None}))
        with pytest.raises(ReleaseRefused, match="HEDONIC_RELEASE asks for"):
            find_source(
                settings.model_copy(update={"release_uri": "models:/hedonic-tiny_town@champion"}), tmp_path
            )


def test_settings_that_cannot_be_used_are_told_all_at_once(monkeypatch):
    monkeypatch.setenv("HEDONIC_RELEASE", "latest")
    monkeypatch.setenv("HEDONIC_FOLLOW_S", "0")
    with pytest.raises(UserError, match=r"HEDONIC_RELEASE: .*; HEDONIC_FOLLOW_S: .* Correct or unset"):
        read_source_settings()


def test_an_empty_variable_is_not_set(monkeypatch):
    monkeypatch.setenv("HEDONIC_RELEASE", "")
    monkeypatch.setenv("HEDONIC_RELEASE_URI", "")
    settings = read_source_settings()
    assert (settings.release, settings.release_uri, settings.follow_s) == (None, None, None)

"""A release in S3: copied whole, verified, and served; or refused, and fetched again next time."""

import json
import os
import shutil
import stat

import boto3
import pytest

from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.model.manifest import read_manifest
from hedonic.model.object_store import ObjectFolder
from hedonic.promotion.release_store import publish_release
from hedonic.served_settings import SourceSettings
from hedonic.serving.loading import load_source
from hedonic.serving.source import resolve
from tests.ports import free_port
from tests.s3 import BUCKET, s3
from tests.tiny_release import tiny_release

__all__ = ["s3"]

pytestmark = pytest.mark.slow

STORE = f"s3://{BUCKET}/prices/releases"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return tiny_release(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def kept(s3, release):
    """Return the URL of the release in the store."""
    return publish_release(release, STORE)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def key(url, name):
    return f"{url.removeprefix(f's3://{BUCKET}/')}/{name}"


def change(url, name, content):
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key(url, name), Body=content)


def test_a_release_is_published_fetched_and_served(kept, release, home):
    assert kept == f"{STORE}/tiny_town/{release.name}"
    source = resolve(kept, SourceSettings(home=home))
    assert load_source(source).model.release == release.name
    assert source.folder == home / "fetched" / release.name
    assert {path.name for path in source.folder.parent.iterdir()} == {release.name}


def test_what_is_fetched_already_is_not_asked_for_again(kept, home, monkeypatch):
    source = resolve(kept, SourceSettings(home=home))
    load_source(source)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert load_source(source).model.release == source.release


def test_without_a_home_the_copy_is_in_a_folder_of_this_user_alone(kept, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = resolve(kept, SourceSettings())
    load_source(source)
    assert source.folder.parent.parent == tmp_path
    assert stat.S_IMODE(source.folder.parent.stat().st_mode) == 0o700
    assert source.folder.parent.stat().st_uid == os.getuid()


def test_a_tampered_release_in_the_store_is_refused_and_leaves_no_copy(kept, home):
    whole = ObjectFolder(kept).read("model/point/trees.txt")
    change(kept, "model/point/trees.txt", whole.replace(b"leaf_value=", b"leaf_value=9", 1))
    source = resolve(kept, SourceSettings(home=home))
    with pytest.raises(ReleaseRefused, match=r"model/point/trees.txt: changed"):
        load_source(source)
    assert list((home / "fetched").iterdir()) == []
    change(kept, "model/point/trees.txt", whole)
    assert load_source(source).model.release == source.release


def test_a_copy_that_was_tampered_with_is_refused_and_fetched_again_next_time(kept, home):
    source = resolve(kept, SourceSettings(home=home))
    load_source(source)
    (source.folder / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        load_source(source)
    assert load_source(source).model.release == source.release


def test_half_a_release_is_refused(kept, home):
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=key(kept, "model/model.json"))
    with pytest.raises(ReleaseRefused, match=r"model/model.json: there is no such object: it is no whole"):
        load_source(resolve(kept, SourceSettings(home=home)))
    assert list((home / "fetched").iterdir()) == []


def test_another_release_than_the_one_asked_for_is_refused_before_it_is_fetched(kept, home):
    source = resolve(kept, SourceSettings(home=home, release="b" * 64))
    with pytest.raises(ReleaseRefused, match="asked for b"):
        load_source(source)
    assert list((home / "fetched").iterdir()) == []


def test_a_manifest_that_names_a_file_outside_the_release_is_refused(s3, release, home, tmp_path):
    rigged = read_manifest(release).model_copy(update={"files": {"../../evil.json": "a" * 64}})
    url = f"s3://{BUCKET}/{rigged.digest}"
    change(url, "manifest.json", rigged.to_bytes())
    change(url, "../../evil.json", b"{}")
    with pytest.raises(ReleaseRefused, match="outside the release"):
        load_source(resolve(url, SourceSettings(home=home)))
    assert not list(tmp_path.rglob("evil.json"))


def test_a_store_that_does_not_answer_is_no_refusal_of_a_release(home, monkeypatch):
    monkeypatch.setattr("hedonic.model.object_store._RETRY_S", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    with pytest.raises(HedonicError, match="cannot be read: .* Look at AWS_ENDPOINT_URL") as raised:
        load_source(resolve(f"{STORE}/{'a' * 64}", SourceSettings(home=home)))
    assert not isinstance(raised.value, ReleaseRefused)


def test_what_is_not_s3_is_no_folder_of_objects():
    with pytest.raises(UserError, match="not s3://bucket/prefix"):
        ObjectFolder("https://bucket/prefix")


def test_publishing_again_writes_nothing_but_the_record(kept, release):
    def written():
        listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
        return {one["Key"]: one["LastModified"] for one in listed}

    before = written()
    assert publish_release(release, f"{STORE}/") == kept
    assert written() == before


def test_a_record_that_is_written_later_reaches_the_store(kept, release, tmp_path):
    copied = shutil.copytree(release, tmp_path / release.name)
    record = {"dataset": "tiny_town", "release": release.name, "created_by": "ann", "created_at": "2026",
              "version": "7"}  # fmt: skip
    (copied / "record.json").write_text(json.dumps(record))
    publish_release(copied, STORE)
    home = tmp_path / "there"
    home.mkdir()
    assert load_source(resolve(kept, SourceSettings(home=home))).model.version == "7"


def test_a_damaged_copy_in_the_store_is_written_again(kept, release, home):
    change(kept, "golden.json", b"{}")
    publish_release(release, STORE)
    assert load_source(resolve(kept, SourceSettings(home=home))).model.release == release.name


def test_a_damaged_release_is_not_published(s3, release, tmp_path):
    damaged = shutil.copytree(release, tmp_path / release.name)
    (damaged / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        publish_release(damaged, STORE)
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_store_may_be_a_folder(release, tmp_path, scheme):
    store = tmp_path / "store"
    url = publish_release(release, f"{scheme}{store}")
    assert publish_release(release, f"{scheme}{store}") == url
    assert load_source(resolve(url, SourceSettings())).model.release == release.name
    assert {path.name for path in (store / "tiny_town").iterdir()} == {release.name}


def test_the_store_that_the_release_is_in_already_is_left_as_it_is(release):
    assert publish_release(release, str(release.parents[1])).endswith(release.name)

"""The release: a folder that its manifest describes to the byte."""

import json
import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import ReleaseRecord, read_golden, read_record, verify_release
from hedonic.promotion.release import write_record, write_release
from tests.tiny_release import ROW, tiny_columns, tiny_content, tiny_contract, tiny_model, tiny_release


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny_release(tmp_path_factory.mktemp("store"))


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / made.name)


def record(folder, **changes):
    facts = {
        "dataset": "tiny_town",
        "release": folder.name,
        "created_by": "a test",
        "created_at": "2026-01-01",
    }
    return ReleaseRecord(**{**facts, **changes})


def test_a_release_is_what_its_manifest_says(made):
    manifest = verify_release(made)
    assert made.name == manifest.digest
    assert made.parent.name == manifest.dataset == "tiny_town"
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert files == {*manifest.files, "manifest.json"}
    assert {"contract.json", "golden.json", "seen_rows.npy", "model/model.json", "judged/model.json"} <= files


def test_both_models_come_back_from_it(made):
    columns = tiny_columns({**ROW, "valuation_date": "2015-01-01"})
    for part, seed in (("model", 0), ("judged", 1)):
        loaded = PortableModel.load(made / part).estimate(columns)
        np.testing.assert_array_equal(loaded.estimate, tiny_model(seed).estimate(columns).estimate)


def test_seen_rows_are_kept_once_and_in_order(made):
    assert np.load(made / "seen_rows.npy", allow_pickle=False).tolist() == [3, 5, 7]


def test_the_same_content_is_the_same_release_in_any_folder_and_at_any_time(made, tmp_path):
    again = tiny_release(tmp_path / "a" / "deep" / "store")
    assert again.name == made.name
    assert (again / "manifest.json").read_bytes() == (made / "manifest.json").read_bytes()


def test_a_release_that_is_there_is_not_written_again(tmp_path):
    first = tiny_release(tmp_path)
    before = (first / "manifest.json").stat().st_mtime_ns
    assert tiny_release(tmp_path) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize(
    "facts",
    [{"seed": 43}, {"snapshot": "e" * 64}, {"reproducible": False}, {"configuration": {"rounds": 13}}],
)
def test_another_fact_is_another_release(made, tmp_path, facts):
    assert write_release(tmp_path, tiny_content(**facts)).name != made.name


def test_a_release_without_a_refit_has_no_judged_model(tmp_path):
    folder = write_release(tmp_path, replace(tiny_content(), judged=None))
    assert not (folder / "judged").exists()
    verify_release(folder)


@pytest.mark.parametrize(
    "name", ["contract.json", "golden.json", "seen_rows.npy", "model/point/trees.txt", "judged/model.json"]
)
def test_a_changed_byte_is_refused_by_the_name_of_its_file(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ReleaseRefused, match=f"{name}: changed"):
        verify_release(folder)


def test_a_missing_file_is_refused_by_its_name(folder):
    (folder / "model" / "width" / "trees.txt").unlink()
    with pytest.raises(ReleaseRefused, match="model/width/trees.txt: missing"):
        verify_release(folder)


def test_an_extra_file_is_refused_by_its_name(folder):
    (folder / "model" / "extra.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"model/extra.json: not in the manifest"):
        verify_release(folder)


def test_every_damage_is_named_at_once(folder):
    (folder / "golden.json").write_text("{}")
    (folder / "seen_rows.npy").unlink()
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed .*; seen_rows.npy: missing"):
        verify_release(folder)


@pytest.mark.parametrize("name", ["model.pkl", "model/run.py", "library.so", "no_suffix"])
def test_a_file_that_could_hold_code_is_refused(folder, name):
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ReleaseRefused, match=f"{name}: a release holds .json, .npy, .txt only"):
        verify_release(folder)


def test_a_link_is_refused_whatever_it_points_to(folder):
    target = folder / "golden.json"
    shutil.copy(target, folder.parent / "golden.json")
    target.unlink()
    target.symlink_to(folder.parent / "golden.json")
    with pytest.raises(ReleaseRefused, match=r"golden.json: a link"):
        verify_release(folder)


def edit(folder, **changes):
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")


def test_an_edited_manifest_is_refused(folder):
    edit(folder, seed=1)
    with pytest.raises(ReleaseRefused, match="the manifest was edited or this is another release"):
        verify_release(folder)


def test_a_manifest_edited_together_with_its_file_is_refused(folder):
    import hashlib

    (folder / "golden.json").write_text("{}")
    files = verify_files(folder)
    edit(folder, files={**files, "golden.json": hashlib.sha256(b"{}").hexdigest()})
    with pytest.raises(ReleaseRefused, match="the manifest was edited"):
        verify_release(folder)


def verify_files(folder):
    return json.loads((folder / "manifest.json").read_text())["files"]


def test_a_manifest_that_says_the_same_in_other_bytes_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(ReleaseRefused, match="not in canonical form"):
        verify_release(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "not a manifest"), ("[]", "not a manifest"), ("{}", "not a manifest"), (None, "cannot be read")],
)
def test_a_manifest_that_is_none_is_refused(folder, content, message):
    (folder / "manifest.json").unlink()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(ReleaseRefused, match=message):
        verify_release(folder)


def test_a_release_of_a_newer_format_says_to_upgrade(folder):
    edit(folder, format_version=2)
    with pytest.raises(ReleaseRefused, match="format 2 is newer than 1. Upgrade Hedonic"):
        verify_release(folder)


def test_another_release_than_the_one_asked_for_is_refused(made):
    with pytest.raises(ReleaseRefused, match=f"asked for {'f' * 64}"):
        verify_release(made, "f" * 64)


def test_a_folder_that_nothing_names_a_digest_of_is_refused(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "champion")
    with pytest.raises(ReleaseRefused, match="'champion' is not a release digest"):
        verify_release(copy)
    assert verify_release(copy, made.name).digest == made.name


def test_a_damaged_release_is_not_taken_for_the_one_to_be_written(tmp_path):
    folder = tiny_release(tmp_path)
    (folder / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        tiny_release(tmp_path)


class Unsaved:
    """A model that fails in the middle of being saved."""

    def __init__(self):
        self.contract = tiny_contract()

    def save(self, folder):
        folder.mkdir()
        (folder / "half.json").write_text("{")
        raise OSError("the disk is full")


def test_nothing_is_left_of_a_release_that_could_not_be_written(tmp_path):
    with pytest.raises(HedonicError, match="tiny_town: cannot be written: the disk is full"):
        write_release(tmp_path, replace(tiny_content(), model=Unsaved()))
    assert list((tmp_path / "tiny_town").iterdir()) == []


def test_content_of_two_data_sets_is_refused(tmp_path):
    with pytest.raises(ReleaseRefused, match="a release is of one data set; got tiny_town, other_town"):
        write_release(tmp_path, tiny_content(dataset="other_town"))


def test_golden_rows_need_an_answer_each(tmp_path):
    content = tiny_content()
    golden = content.golden.model_copy(update={"answers": content.golden.answers[:1]})
    with pytest.raises(ReleaseRefused, match="3 golden rows but 1 answers"):
        write_release(tmp_path, replace(content, golden=golden))


def _begin(together):
    tiny_content()  # trains its trees: the writing begins at once
    together.wait(120)


def _write(store):
    return str(tiny_release(store))


def test_two_processes_that_write_the_same_release_both_get_it(tmp_path):
    spawned = multiprocessing.get_context("spawn")
    with spawned.Pool(2, _begin, [spawned.Barrier(2)]) as pool:
        folders = pool.map_async(_write, [tmp_path] * 4).get(120)
    assert len(set(folders)) == 1
    verify_release(next((tmp_path / "tiny_town").iterdir()))


def test_the_record_is_beside_the_release_and_outside_its_digest(folder):
    assert read_record(folder) is None
    write_record(folder, record(folder, version="7", figures={"mdape_pct": 8.5}))
    written = read_record(folder)
    assert written is not None
    assert (written.version, written.figures) == ("7", {"mdape_pct": 8.5})
    write_record(folder, record(folder, version="8"))
    assert read_record(folder).version == "8"
    write_record(folder, record(folder, figures={"prb": float("nan")}))
    assert read_record(folder).figures == {"prb": None}
    verify_release(folder)


def test_a_record_of_another_release_is_refused(folder):
    with pytest.raises(ReleaseRefused, match="the record is about"):
        write_record(folder, record(folder, release="f" * 64))


def test_a_record_that_is_none_is_refused(folder):
    (folder / "record.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"record.json: not a record"):
        read_record(folder)


def test_golden_rows_that_are_none_are_refused(folder):
    (folder / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: not golden rows"):
        read_golden(folder)
    (folder / "golden.json").write_text('{"instances": [{}], "answers": [{}, {}]}')
    with pytest.raises(ReleaseRefused, match="1 rows but 2 answers"):
        read_golden(folder)

"""``hedonic verify``, ``gc``, ``backup``, ``restore`` and ``bento``, for people and for machines."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from hedonic.custody import restoration
from hedonic.settings import Settings
from tests.kept_home import DATASET, kept_home, record
from tests.tiny_release import tiny_model, tiny_release


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return kept_home(tmp_path_factory.mktemp("original"), n=3)


@pytest.fixture
def kept(project, original):
    """Return the settings of the project that the command sees, and its champions."""
    shutil.copytree(original[0].home, project / ".hedonic")
    return Settings(root=project, home=project / ".hedonic"), original[1]


def last_object(out):
    return json.loads(out.splitlines()[-1])


def test_verify_tells_what_is_whole_and_exits_0(hedonic, kept):
    code, out, _ = hedonic("verify", DATASET)
    assert code == 0
    assert f"release {DATASET} {kept[1][0].release}: every file as its manifest says" in out
    assert out.splitlines()[-1] == "11 ok"


def test_verify_names_the_file_and_the_digest_of_what_is_wrong_and_exits_1(hedonic, kept):
    settings, (first, *_) = kept
    (settings.releases / DATASET / first.release / "golden.json").write_text("{}")
    code, out, _ = hedonic("verify")
    assert code == 1
    assert f"wrong      release {DATASET} {first.release}: " in out
    assert "golden.json: changed" in out
    code, out, told = hedonic("verify", "--json")
    found = last_object(out)
    assert (code, found["ok"], found["counts"]) == (1, False, {"ok": 10, "wrong": 1})
    assert [each["name"] for each in found["seen"] if each["state"] == "wrong"] == [first.release]
    assert "golden.json: changed" in told


def test_verify_of_one_release_by_the_beginning_of_its_digest_looks_at_that_alone(hedonic, kept):
    settings, (first, second, _) = kept
    (settings.releases / DATASET / first.release / "golden.json").write_text("{}")
    assert hedonic("verify", "--release", second.release[:10])[0] == 0
    assert hedonic("verify", DATASET, "--release", first.release)[0] == 1
    record = {
        "dataset": DATASET,
        "release": second.release,
        "created_by": "ana",
        "created_at": "x",
        "version": "7",
    }
    (settings.releases / DATASET / second.release / "record.json").write_text(json.dumps(record))
    code, out, _ = hedonic("verify", "--version", "7", "--json")
    assert code == 0
    assert second.release in {each["name"] for each in last_object(out)["seen"]}
    assert first.release not in out


def test_verify_by_version_goes_by_the_history_and_says_what_was_collected(hedonic, kept):
    settings, (first, second, _) = kept
    for number, champion in ((7, first), (8, second)):
        record(settings, "kept", release=champion.release, version=number)
    record(settings, "collected", release=first.release)
    shutil.rmtree(settings.releases / "tiny_town" / first.release)
    written = {"dataset": "tiny_town", "release": second.release, "created_by": "eve", "created_at": "x"}
    path = settings.releases / "tiny_town" / second.release / "record.json"
    path.write_text(json.dumps({**written, "version": "7"}))  # a file that says it is another version
    code, out, _ = hedonic("verify", "--version", "7", "--json")
    (seen,) = (each for each in last_object(out)["seen"] if each["kind"] == "release")
    assert (code, seen["name"], seen["state"]) == (0, first.release, "collected")
    code, out, _ = hedonic("verify", "--version", "8", "--json")
    assert second.release in {each["name"] for each in last_object(out)["seen"]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--release", "zz"), "release zz: not one release; found: none"),
        (("--release", ""), "Give more of its digest"),
        (("--version", "99"), "version 99: not one release"),
        (("--release", "a", "--version", "1"), "Give one of them"),
    ],
)
def test_verify_of_what_is_not_one_release_is_the_callers_error(hedonic, kept, arguments, told):
    code, _, err = hedonic("verify", *arguments)
    assert (code, told in err) == (2, True), err


def test_gc_is_a_dry_run_unless_it_is_to_be_applied(hedonic, kept):
    settings, (first, second, champion) = kept
    before = time.time() - 3 * 86_400
    for path in settings.home.rglob("*"):
        if not path.name.startswith("history.db"):
            os.utime(path, (before, before))
    code, out, _ = hedonic("gc", "--keep", "1", "--days", "1", "--json")
    assert (code, any(each["goes"] for each in last_object(out)["decisions"])) == (
        0,
        False,
    )  # all reigned today
    code, out, _ = hedonic("gc", "--keep", "1", "--days", "0")
    assert code == 0
    assert "dry run: nothing was taken away" in out
    assert (settings.releases / DATASET / first.release).is_dir()
    code, out, _ = hedonic("gc", "--keep", "1", "--days", "0", "--apply", "--json")
    told = {each["name"]: each["why"] for each in last_object(out)["decisions"] if each["kind"] == "release"}
    assert code == 0
    assert told[champion.release] == "champion"
    assert told[second.release] == "roll-back target"
    assert not (settings.releases / DATASET / first.release).exists()
    code, out, _ = hedonic("verify")
    assert code == 0
    assert f"collected  release {DATASET} {first.release}: collected" in out
    assert "hedonic gc --keep 1 --days 0" in out


def test_gc_where_nothing_is_kept_does_nothing(hedonic, project):
    code, out, _ = hedonic("gc")
    assert (code, "nothing is kept yet" in out) == (0, True)
    assert not (project / ".hedonic").exists()


def test_backup_and_restore_bring_back_the_champion(hedonic, kept, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(
        restoration, "project", lambda *_: None
    )  # MLflow's aliases: tests/faults/test_backup.py
    settings, (*_, champion) = kept
    folder = tmp_path_factory.mktemp("archives")
    code, out, _ = hedonic("backup", str(folder), "--json")
    made = last_object(out)
    assert (code, made["champions"]) == (0, {DATASET: champion.release})
    shutil.rmtree(settings.home)
    code, out, _ = hedonic("restore", made["file"], "--json")
    assert (code, last_object(out)["ok"]) == (0, True)
    assert last_object(out)["champions"] == {DATASET: champion.release}
    code, _, err = hedonic("restore", made["file"])
    assert (code, "--force" in err) == (2, True)
    code, out, _ = hedonic("restore", made["file"], "--force")
    assert (code, "what was here before is in" in out) == (0, True)
    assert hedonic("verify")[0] == 0


def test_a_bento_is_built_by_hand_of_no_release_that_was_not_promoted(hedonic, kept):
    settings, _ = kept
    release = tiny_release(settings.releases, tiny_model(seed=9)).name
    before = sorted(settings.bentos.rglob("*"))
    code, _, err = hedonic("bento", DATASET, "--release", release[:12])
    assert (code, "the history does not name it as promoted" in err) == (1, True), err
    assert sorted(settings.bentos.rglob("*")) == before
    code, _, err = hedonic("bento", "toy")
    assert (code, "toy: no champion yet, so there is nothing to build" in err) == (2, True), err

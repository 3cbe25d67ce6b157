"""The parcel between two jobs: the very release that was promised, or nothing."""

from __future__ import annotations

import json
import shutil

import optuna
import pytest

from delivery.handover import build_promised, pack, read_run, take
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.search import open_storage
from hedonic.settings import Settings
from tests.project import ROOT
from tests.tiny_release import tiny_release

DATASET = "tiny_town"


@pytest.fixture
def promoted(tmp_path):
    """Return settings, release and run of a job that promoted."""
    settings = Settings(root=ROOT, home=tmp_path / "first")
    release = tiny_release(settings.releases)
    settings.studies.parent.mkdir(parents=True)
    settings.studies.write_text("{}\n")
    told = {
        "dataset": DATASET,
        "outcome": "promoted",
        "release": release.name,
        "bento": f"hedonic-{DATASET}:0",
    }
    run = tmp_path / "retrain.json"
    run.write_text(f"a line before\n{json.dumps(told)}\n")
    return settings, release, run


def test_a_parcel_holds_study_verdict_and_release_and_its_facts_are_told(promoted, tmp_path):
    settings, release, run = promoted
    facts = pack(settings, run, tmp_path / "parcel")
    assert facts == {
        "dataset": DATASET,
        "outcome": "promoted",
        "release": release.name,
        "bento": f"hedonic-{DATASET}:0",
    }
    assert json.loads((tmp_path / "parcel/verdict.json").read_text())["release"] == release.name
    assert (tmp_path / "parcel/studies.journal").is_file()
    later = Settings(root=ROOT, home=tmp_path / "later")
    folder = take(later, tmp_path / "parcel", DATASET, release.name)
    assert folder == later.releases / DATASET / release.name
    assert (folder / "manifest.json").read_bytes() == (release / "manifest.json").read_bytes()
    assert take(later, tmp_path / "parcel", DATASET, release.name) == folder


def test_of_a_database_of_studies_that_many_share_the_newest_of_the_data_set_is_in_the_parcel(
    promoted, tmp_path
):
    settings, _, run = promoted
    shared = f"sqlite:///{tmp_path}/studies.db"
    for name in (f"{DATASET}-2026-11-28-a", f"{DATASET}-2026-11-29-b", "other_town-2026-11-29-c"):
        study = optuna.create_study(storage=shared, study_name=name)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    pack(settings.model_copy(update={"studies_url": shared}), run, tmp_path / "parcel")
    parcel = open_storage(tmp_path / "parcel/studies.journal")
    (packed,) = optuna.get_all_study_summaries(parcel)
    assert (packed.study_name, packed.n_trials) == (f"{DATASET}-2026-11-29-b", 2)


def test_another_release_than_the_promised_one_is_not_taken(promoted, tmp_path):
    settings, _, run = promoted
    pack(settings, run, tmp_path / "parcel")
    with pytest.raises(HedonicError, match=f"promised was {'b' * 64}"):
        take(Settings(root=ROOT, home=tmp_path / "later"), tmp_path / "parcel", DATASET, "b" * 64)
    assert not (tmp_path / "later/releases").exists()


def test_a_release_that_was_changed_on_its_way_is_not_taken(promoted, tmp_path):
    settings, release, run = promoted
    pack(settings, run, tmp_path / "parcel")
    next((tmp_path / "parcel/releases" / DATASET / release.name / "model").glob("*.json")).write_text("{}")
    with pytest.raises(ReleaseRefused, match="changed"):
        take(Settings(root=ROOT, home=tmp_path / "later"), tmp_path / "parcel", DATASET, release.name)


def test_a_run_that_kept_the_champion_hands_over_its_verdict_and_no_release(promoted, tmp_path):
    settings, _, run = promoted
    run.write_text(json.dumps({"dataset": DATASET, "outcome": "kept", "release": None, "bento": None}))
    facts = pack(settings, run, tmp_path / "parcel")
    assert (facts["outcome"], facts["release"]) == ("kept", "")
    assert not (tmp_path / "parcel/releases").exists()


@pytest.mark.parametrize("text", ["", "not JSON", '{"error": {"exit_code": 1}}', "[]"])
def test_a_run_that_told_no_verdict_is_no_run(tmp_path, text):
    (tmp_path / "retrain.json").write_text(text)
    with pytest.raises(HedonicError, match="tells of no verdict"):
        read_run(tmp_path / "retrain.json")


@pytest.mark.slow
def test_the_bento_of_another_tree_is_not_the_promised_one(promoted, tmp_path):
    settings, release, _ = promoted
    with pytest.raises(HedonicError, match="promised was hedonic-tiny_town:0000") as caught:
        build_promised(settings, release, "hedonic-tiny_town:0000")
    tag = str(caught.value).split("its bento is ")[1].split()[0]
    shutil.rmtree(settings.bentos)
    build_promised(settings, release, tag)

"""A person's decision on a parked release: one transaction, on the release that was judged."""

from __future__ import annotations

import json

import pytest

from hedonic.errors import ReleaseRefused, UserError
from hedonic.promotion.approval import approve, find_parked, reject
from hedonic.promotion.history import Entry, History, StaleChampion
from hedonic.promotion.standing import IllegalTransition
from tests.tiny_release import constant_model, tiny_release

A, DATASET = "a" * 64, "tiny_town"
WHO = {"actor": "eve", "reason": "looked at it"}


@pytest.fixture
def history(tmp_path):
    opened = History(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    opened.close()


@pytest.fixture
def releases(tmp_path):
    return tmp_path / "releases"


@pytest.fixture
def park(history, releases):
    def make(value=11.0, expected=A, **changes):
        release = tiny_release(releases, constant_model(value)).name
        told = {"dataset": DATASET, "kind": "parked", "release": release, "actor": "ana", "reason": "nightly"}
        return history.append(Entry(**told | changes), expected_champion=expected)

    promoted = Entry(dataset=DATASET, kind="promoted", release=A, actor="ana", reason="first")
    history.append(promoted, expected_champion=None)
    return make


def test_an_approval_makes_the_parked_release_champion_and_says_who_and_why(history, releases, park):
    parked = park(bento="tiny_town:1", figures={"log_rmse": 0.2}, flow_run="f-1")
    assert history.champion(DATASET).release == A
    found = find_parked(history, releases, DATASET)
    assert found == parked
    record = approve(history, releases, found, **WHO)
    assert (record.kind, record.actor, record.reason) == ("approved", "eve", "looked at it")
    assert (record.release, record.bento, record.flow_run) == (parked.release, "tiny_town:1", "f-1")
    assert history.champion(DATASET) == record
    assert history.standing(DATASET, A) == "archived"


def test_an_approval_after_the_champion_moved_is_stale(history, releases, park):
    parked = park()
    other = Entry(dataset=DATASET, kind="promoted", release="b" * 64, actor="ana", reason="meanwhile")
    history.append(other, expected_champion=A)
    before = history.records()
    with pytest.raises(StaleChampion, match=f"the champion is {'b' * 64}, .* judged against {A}"):
        approve(history, releases, find_parked(history, releases, DATASET), **WHO)
    assert history.records() == before
    assert find_parked(history, releases, DATASET) == parked


def test_a_rejection_leaves_the_champion_and_is_final_for_that_verdict(history, releases, park):
    parked = park()
    record = reject(history, find_parked(history, releases, DATASET), **WHO)
    assert (record.kind, record.release, record.actor) == ("rejected", parked.release, "eve")
    assert history.champion(DATASET).release == A
    with pytest.raises(IllegalTransition, match="is rejected; only one that is challenger can be approved"):
        approve(history, releases, parked, **WHO)
    with pytest.raises(UserError, match=f"no verdict awaits approval. Parked so far: {parked.release[:12]}"):
        find_parked(history, releases, DATASET)


def test_a_release_that_was_altered_since_is_not_approved(history, releases, park):
    parked = park()
    model = next((releases / DATASET / parked.release).rglob("model.json"), None)
    victim = model or next((releases / DATASET / parked.release / "model").rglob("*.json"))
    victim.write_bytes(victim.read_bytes() + b" ")
    with pytest.raises(ReleaseRefused, match=parked.release[:12]):
        approve(history, releases, parked, **WHO)
    assert history.champion(DATASET).release == A


def test_of_several_one_is_chosen_by_release_or_version(history, releases, park):
    first, second = park(11.0), park(12.0)
    with pytest.raises(UserError, match="2 verdicts await approval: choose one with --release"):
        find_parked(history, releases, DATASET)
    assert find_parked(history, releases, DATASET, release=second.release[:10]) == second
    record = {
        "dataset": DATASET,
        "release": first.release,
        "created_by": "ana",
        "created_at": "x",
        "version": "7",
    }
    (releases / DATASET / first.release / "record.json").write_text(json.dumps(record))
    assert find_parked(history, releases, DATASET, version="7") == first
    with pytest.raises(UserError, match="no parked verdicts are about version 8"):
        find_parked(history, releases, DATASET, version="8")
    with pytest.raises(UserError, match="no parked verdicts are about release ff00"):
        find_parked(history, releases, DATASET, release="ff00")


def test_the_version_that_the_history_has_counts_and_not_that_of_a_file_beside_the_release(
    history, releases, park
):
    first, second = park(11.0, version=7), park(12.0, version=8)
    record = {"dataset": DATASET, "release": second.release, "created_by": "eve", "created_at": "x"}
    path = releases / DATASET / second.release / "record.json"
    path.write_text(json.dumps({**record, "version": "7"}))
    assert find_parked(history, releases, DATASET, version="7") == first
    assert find_parked(history, releases, DATASET, version="8") == second


def test_where_nothing_was_parked_there_is_nothing_to_approve(history, releases):
    with pytest.raises(UserError, match="tiny_town: no verdict awaits approval. Parked so far: none"):
        find_parked(history, releases, DATASET)

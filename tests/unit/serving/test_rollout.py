"""The roll-out in place: the next release is served once it is verified, or not at all."""

import gc
import logging
import threading
import time
import weakref
from dataclasses import replace
from itertools import pairwise

import pytest

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.booster import Booster
from hedonic.serving.following import Follower
from hedonic.serving.loading import load_source
from hedonic.serving.rollout import Rollout
from hedonic.serving.source import champion_source
from tests.serving.conftest import crown
from tests.tiny_release import ROW, tiny_model, tiny_release

PATIENCE_S = 20


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Return a home with three releases whose trees no other test has, and their folders."""
    home = tmp_path_factory.mktemp("home")
    return home, [tiny_release(home / "releases", tiny_model(seed=seed)) for seed in (71, 72, 73)]


@pytest.fixture
def counted():
    return []


@pytest.fixture
def rollout(releases, counted):
    home, (first, *_) = releases
    crown(home, first)
    return Rollout(load_source, lambda: champion_source(home, "tiny_town"), counted.append)


def served(rollout):
    return rollout.served.release.model.release


def estimate(release):
    return release.predictor.predict([ROW])[0]["estimate"]


def test_what_the_source_names_next_is_served_next_and_the_one_before_comes_back_the_same_way(
    releases, rollout, counted
):
    home, folders = releases
    before = rollout.served.release
    for folder in (*folders[1:], folders[0]):
        crown(home, folder)
        rollout.follow()
        assert served(rollout) == folder.name
        assert rollout.served.source.release == folder.name
    assert counted == ["swapped"] * 3
    assert rollout.served.release is not before  # verified and loaded again
    assert estimate(rollout.served.release) == estimate(before)


def test_as_long_as_nothing_moves_nothing_is_loaded(releases, rollout):
    before = rollout.served
    rollout.follow()
    assert rollout.served is before
    crown(releases[0], releases[1][0])  # written again, the same
    rollout.follow()
    assert rollout.served.release is before.release


def test_who_took_the_release_before_a_swap_answers_by_it_to_the_end(releases, rollout):
    home, folders = releases
    mine = rollout.served.release
    said = estimate(mine)
    crown(home, folders[1])
    rollout.follow()
    assert (estimate(mine), mine.model.release) == (said, folders[0].name)
    assert estimate(rollout.served.release) != said


def spoil(folder, home):
    """Return a copy of a release under its own digest, one number changed."""
    spoilt = home / "releases" / "tiny_town" / folder.name
    trees = spoilt / "model" / "point" / "trees.txt"
    whole = trees.read_text()
    trees.write_text(whole.replace("leaf_value=", "leaf_value=9", 1))
    return lambda: trees.write_text(whole)


def test_a_bad_release_is_refused_once_and_the_old_one_stays_until_the_source_moves(
    releases, rollout, counted, caplog
):
    home, folders = releases
    before = rollout.served
    mend = spoil(folders[1], home)
    try:
        crown(home, folders[1])
        for _ in range(3):
            rollout.follow()
        assert rollout.served is before
        assert counted == ["refused"]
        assert rollout.refused.release == folders[1].name
        assert "trees.txt: changed" in rollout.refused.reason
        assert rollout.refused.at.startswith("20")
        assert "trees.txt: changed" in caplog.text
    finally:
        mend()
    rollout.follow()  # mended, but nobody said so
    assert rollout.served is before
    crown(home, folders[1])  # the same champion, written again
    rollout.follow()
    assert served(rollout) == folders[1].name
    assert rollout.refused is None


def test_a_refusal_is_over_once_the_source_names_what_is_served(releases, rollout):
    home, folders = releases
    mend = spoil(folders[1], home)
    try:
        crown(home, folders[1])
        rollout.follow()
    finally:
        mend()
    assert rollout.refused
    crown(home, folders[0])
    rollout.follow()
    assert rollout.refused is None
    assert served(rollout) == folders[0].name


def test_a_pointer_that_cannot_be_read_is_refused_once(releases, rollout, counted):
    home, folders = releases
    (home / "serving" / "tiny_town.json").write_text("{")
    for _ in range(3):
        rollout.follow()
    assert counted == ["refused"]
    assert rollout.refused.release is None
    assert "not a pointer" in rollout.refused.reason
    assert served(rollout) == folders[0].name


def test_a_release_of_another_data_set_is_refused(releases):
    home, folders = releases
    crown(home, folders[0])
    source = champion_source(home, "tiny_town")
    with pytest.raises(ReleaseRefused, match="is of tiny_town, not of big_town"):
        load_source(replace(source, dataset="big_town"))


def test_what_cannot_be_reached_is_no_refusal_and_is_tried_again(releases, counted):
    home, folders = releases
    crown(home, folders[0])
    down = [False]

    def load(source):
        if down[0]:
            raise HedonicError("the store does not answer")
        return load_source(source)

    rollout = Rollout(load, lambda: champion_source(home, "tiny_town"), counted.append)
    crown(home, folders[1])
    down[0] = True
    with pytest.raises(HedonicError, match="does not answer"):
        rollout.follow()
    assert (rollout.refused, counted, served(rollout)) == (None, [], folders[0].name)
    down[0] = False
    rollout.follow()
    assert served(rollout) == folders[1].name


def test_a_first_release_that_is_bad_is_not_served_at_all(releases):
    home, folders = releases
    mend = spoil(folders[1], home)
    crown(home, folders[1])
    try:
        with pytest.raises(ReleaseRefused, match=r"trees.txt: changed"):
            Rollout(load_source, lambda: champion_source(home, "tiny_town"))
    finally:
        mend()


def n_boosters(folders):
    """Return how many boosters of these releases there are; threads of other tests may drop theirs."""
    texts = {trees.read_text() for folder in folders for trees in (folder / "model").glob("*/trees.txt")}
    return sum(isinstance(found, Booster) and found.text in texts for found in gc.get_objects())


def test_a_release_that_is_no_longer_served_leaves_nothing_behind(releases, rollout):
    home, folders = releases
    gc.collect()
    assert n_boosters(folders) == 2  # of the point and of the width
    gone = weakref.ref(rollout.served.release.predictor)
    for folder in (*folders[1:], *folders[:2]):
        crown(home, folder)
        rollout.follow()
    assert gone() is None
    assert n_boosters(folders) == 2


def test_a_follower_looks_again_and_again_until_it_is_closed():
    looks = threading.Semaphore(0)
    follower = Follower(looks.release, 0.05)
    assert all(looks.acquire(timeout=PATIENCE_S) for _ in range(3))
    follower.close()
    while looks.acquire(blocking=False):
        pass
    assert not looks.acquire(timeout=0.3)


def test_what_a_look_raises_is_logged_once_and_does_not_end_the_following(caplog):
    looks = threading.Semaphore(0)

    def fail():
        looks.release()
        raise HedonicError("the registry does not answer")

    with caplog.at_level(logging.ERROR, "hedonic.serving"):
        follower = Follower(fail, 0.05)
        assert all(looks.acquire(timeout=PATIENCE_S) for _ in range(4))
        follower.close()
    told = [record for record in caplog.records if record.name == "hedonic.serving"]
    assert [record.exc_info[1].args[0] for record in told] == ["the registry does not answer"]


def test_after_failures_the_pauses_grow():
    looks, at = threading.Semaphore(0), []

    def fail():
        at.append(time.monotonic())
        looks.release()
        raise HedonicError("down")

    follower = Follower(fail, 0.05)
    assert all(looks.acquire(timeout=PATIENCE_S) for _ in range(4))
    follower.close()
    pauses_s = [after - before for before, after in pairwise(at)]
    assert all(pause >= least * 0.99 for pause, least in zip(pauses_s, (0.1, 0.2, 0.4, 0.8), strict=False)), (
        pauses_s
    )

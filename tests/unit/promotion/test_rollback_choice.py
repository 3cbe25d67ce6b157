"""What can be gone back to, by which name, and what is refused by its own."""

from __future__ import annotations

import shutil

import pytest

from hedonic.errors import ReleaseRefused, UserError
from hedonic.promotion.record import Entry
from hedonic.promotion.rollback_choice import choose_target
from tests.rollbacks import DATASET, make_town


@pytest.fixture
def town(tmp_path):
    """Versions 1, 2 and 3 were promoted in turn; version 4 was made and never promoted."""
    return make_town(tmp_path / "town", n_releases=4, promoted=3)


def choose(town, to=None):
    return choose_target(town.history.records(DATASET), town.settings.releases / DATASET, DATASET, to)


def test_by_default_it_is_the_champion_before_with_what_was_known_of_it(town):
    found = choose(town)
    assert (found.champion.release, found.target.release) == (town.releases[2].name, town.releases[1].name)
    assert (found.target.kind, found.target.figures) == ("promoted", {"log_rmse": 0.19})


@pytest.mark.parametrize(
    "name", [lambda r: r.name, lambda r: r.name[:12], lambda r: r.name[:12].upper(), lambda _: "1"]
)
def test_it_is_named_by_version_by_digest_or_by_the_beginning_of_that(town, name):
    assert choose(town, name(town.releases[0])).target.release == town.releases[0].name


def test_a_version_is_a_version_before_it_is_the_beginning_of_a_digest(town):
    for n, release in enumerate(town.releases[:2]):
        assert choose(town, str(n + 1)).target.release == release.name


def test_a_version_is_that_of_the_history_and_not_of_the_file_beside_the_release(town):
    told = dict(
        zip((release.name for release in town.releases[:3]), (2, 1, 3), strict=True)
    )  # files: 1, 2, 3
    records = tuple(
        record.model_copy(update={"version": told[record.release]})
        for record in town.history.records(DATASET)
    )
    found = choose_target(records, town.settings.releases / DATASET, DATASET, "2")
    assert found.target.release == town.releases[0].name


def test_the_champion_is_no_target_and_the_others_are_told(town):
    with pytest.raises(
        UserError, match=r"is the champion already\. There: \w{12} \(version 1\), \w{12} \(version 2\)\."
    ):
        choose(town, "3")


@pytest.mark.parametrize("to", ["9", "fffffff", "no such thing"])
def test_what_is_unknown_is_refused_with_what_there_is(town, to):
    with pytest.raises(
        UserError, match=rf"--to {to}: no such model version or release\. There: \w+ \(version 1\)"
    ):
        choose(town, to)


def test_a_name_for_several_is_refused(town):
    for release in ("ab" * 32, "ac" * 32):
        entry = Entry(dataset=DATASET, kind="promoted", release=release, actor="ana", reason="x")
        town.history.append(entry, expected_champion=town.champion)
    with pytest.raises(UserError, match="--to a: several releases are named so. Give more of a digest"):
        choose(town, "a")
    with pytest.raises(UserError, match="--to : no such model version or release"):
        choose(town, "")


@pytest.mark.parametrize("name", [lambda r: r.name[:12], lambda _: "4"])
def test_one_that_never_was_champion_is_refused(town, name):
    with pytest.raises(UserError, match="never was champion: only what the gate let through"):
        choose(town, name(town.releases[3]))


@pytest.mark.parametrize("to", [None, "digest"])
def test_one_that_was_collected_is_refused_by_that_reason(town, to):
    shutil.rmtree(town.releases[1])
    town.collect(1)
    failed = Entry(
        dataset=DATASET, kind="failed", release=town.releases[1].name, actor="ana", reason="x", failure="gone"
    )
    town.history.append(failed)
    with pytest.raises(
        UserError, match=r"was collected at 20.*its files are gone\. There: \w+ \(version 1\)\."
    ):
        choose(town, town.releases[1].name[:12] if to else None)


def test_one_whose_folder_is_gone_without_a_reason_is_no_error_of_the_users(town):
    shutil.rmtree(town.releases[1])
    with pytest.raises(ReleaseRefused, match="nothing says that it was collected") as caught:
        choose(town)
    assert caught.value.exit_code == 1


def test_a_champion_that_is_promoted_again_after_it_was_collected_is_a_target(town):
    town.collect(0)
    town.crown(0)
    town.crown(2)
    assert choose(town).target.release == town.releases[0].name


def test_with_nothing_before_the_champion_or_no_champion_that_is_said(tmp_path):
    town = make_town(tmp_path / "town", n_releases=1, promoted=0)
    with pytest.raises(UserError, match="tiny_town: no champion yet, so there is nothing to roll back"):
        choose(town)
    town.crown(0)
    with pytest.raises(UserError, match=r"no champion before release \w{16} to go back to.*There: none\."):
        choose(town)

"""The version of a release: it only grows, whatever MLflow on a new runner counts."""

from __future__ import annotations

from contextlib import closing

import pytest

from delivery.version import find_version
from hedonic.errors import UserError
from hedonic.promotion.history import ANYONE, Entry, History
from hedonic.settings import Settings
from tests.project import ROOT

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def settings(tmp_path):
    return Settings(root=ROOT, home=tmp_path / "home", history_url=f"sqlite:///{tmp_path / 'shared.db'}")


def write(settings, kind, release, expected=None, dataset="town"):
    """Append a record as a runner whose MLflow is new does: its model's number is 1 each time."""
    entry = Entry(dataset=dataset, kind=kind, release=release, actor="ci", reason="nightly", version=1)
    with closing(History(settings.history)) as history:
        history.append(entry, expected_champion=expected if entry.crowns else ANYONE)


def test_each_champion_has_the_next_version_and_keeps_it(settings):
    write(settings, "promoted", A)
    assert find_version(settings, "town", A) == 1
    write(settings, "kept", None)
    write(settings, "promoted", C, dataset="county")
    write(settings, "promoted", B, expected=A)
    write(settings, "rolled_back", A, expected=B)
    write(settings, "promoted", C, expected=A)
    assert [find_version(settings, "town", release) for release in (A, B, C)] == [1, 2, 3]
    assert find_version(settings, "county", C) == 1


def test_a_release_that_was_never_champion_has_no_version(settings):
    with pytest.raises(UserError, match="never champion by the history at hand"):
        find_version(settings, "town", A)
    write(settings, "promoted", A)
    with pytest.raises(UserError, match="Is HEDONIC_HISTORY_URL that of the run"):
        find_version(settings, "town", B)

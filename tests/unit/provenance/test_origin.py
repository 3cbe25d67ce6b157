"""What is known of a release: its bento, whether or not it ever was champion."""

from __future__ import annotations

from hedonic.provenance.origin import Origin
from hedonic.provenance.trace import read_history
from tests.lived_in import LivedIn

PARKED = "9" * 64


def bento_of(home: LivedIn, release: str) -> str | None:
    history = read_history(home.settings, "houses")
    return Origin.find(home.settings, "houses", release, history).bento


def test_a_release_that_still_waits_has_the_bento_of_its_verdict(home: LivedIn) -> None:
    home.append(kind="parked", release=PARKED, bento="houses:parked", version=2)
    assert bento_of(home, PARKED) == "houses:parked"


def test_a_champion_has_the_bento_that_it_was_crowned_with(home: LivedIn) -> None:
    home.append(kind="parked", release=PARKED, bento="houses:parked", version=2)
    home.append(kind="approved", release=PARKED, bento="houses:approved", version=2)
    assert bento_of(home, PARKED) == "houses:approved"
    assert bento_of(home, home.release) is None


def test_what_nobody_judged_has_none(home: LivedIn) -> None:
    assert bento_of(home, "8" * 64) is None

"""A roll-back goes to the champion before, never to one that a roll-back left."""

from __future__ import annotations

import pytest

from hedonic.promotion.history import Entry, History
from hedonic.promotion.rollback_target import line_of_champions, rollback_target

RELEASES = {letter: letter * 64 for letter in "abcdef"}


@pytest.fixture
def history(tmp_path):
    opened = History(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    opened.close()


def tell(history, story, dataset="king_county"):
    """Append a story such as ``+a +b -a``: promoted a, promoted b, rolled back to a."""
    for word in story.split():
        champion = history.champion(dataset)
        kind, release = word[0], RELEASES[word[1]]
        entry = Entry(
            dataset=dataset,
            kind={"+": "promoted", "-": "rolled_back", "k": "kept", "x": "collected"}[kind],
            release=None if kind == "k" else release,
            actor="ana",
            reason=word,
        )
        history.append(entry, expected_champion=champion.release if champion else None)


@pytest.mark.parametrize(
    ("story", "target"),
    [
        ("", None),
        ("+a", None),
        ("+a +b", "a"),
        ("+a +b +c", "b"),
        ("+a kc +b kd", "a"),
        # Two in a row go back two champions, and not to the one that was left.
        ("+a +b +c -b", "a"),
        ("+a +b +c -b -a", None),
        ("+a +b +c -a", None),
        # What is promoted after a roll-back stands upon what was rolled back to.
        ("+a +b -a +c", "a"),
        ("+a +b +c -b +d", "b"),
        # A roll-back that is undone, by hand or because the endpoint refused it, leaves no trace.
        ("+a +b +c -b -c", "b"),
        ("+a +b +c -a -c", "b"),
        ("+a +b +c -a -c -b", "a"),
        ("+a +b -a -b -a", None),
        # Forward again, to one that a roll-back left earlier: what is left now is no target either.
        ("+a +b +c -b -a -c", None),
        ("+a +b +c -b +d -c", "b"),
        # The same release again after another.
        ("+a +b +a", "b"),
        ("+a +b +a -b", "a"),
        # A promotion between the two: the second roll-back is no undoing.
        ("+a +b -a +c -b", "a"),
    ],
)
def test_the_target_is_the_champion_before(history, story, target):
    tell(history, story)
    found = rollback_target(history, "king_county")
    assert (found.release if found else None) == (RELEASES[target] if target else None)


def test_the_target_is_of_its_own_data_set(history):
    tell(history, "+a", dataset="california")
    tell(history, "+b")
    assert rollback_target(history, "king_county") is None
    tell(history, "+c")
    tell(history, "+d", dataset="california")
    assert rollback_target(history, "king_county").release == RELEASES["b"]


def test_it_is_the_record_that_made_it_champion_with_what_was_known_of_it_then(history):
    tell(history, "+a +b +c -b -c")
    found = rollback_target(history, "king_county")
    assert (found.kind, found.seq) == ("promoted", 2)


def test_one_that_was_collected_is_still_named(history):
    tell(history, "+a +b xa")
    assert rollback_target(history, "king_county").release == RELEASES["a"]


def test_the_line_ends_with_the_champion_whatever_happened(history):
    tell(history, "+a +b -a -b +c -a +d +e -d -a +f -e")
    records = history.records("king_county")
    for n in range(1, len(records) + 1):
        assert line_of_champions(records[:n])[-1].release == records[n - 1].release

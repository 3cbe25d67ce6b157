"""The standing of a release follows from its records alone, and each illegal step is refused by name."""

from __future__ import annotations

import re

import pytest

from hedonic.promotion.record import Entry
from hedonic.promotion.standing import ALLOWED, IllegalTransition, require_allowed, standings

WORDS = {
    "+": "promoted", "p": "parked", "v": "approved", "x": "rejected", "-": "rolled_back", "c": "collected",
    "f": "failed", "k": "kept", "r": "refused",
}  # fmt: skip


def digest(letter):
    return letter * 64


def records(story):
    """Return a story such as ``+a pb vb kA``: a release is a small letter, a judged model a capital."""
    return [record(word) for word in story.split()]


def record(word):
    kind, letter = WORDS[word[0]], word[1].lower()
    judged_only = kind in ("kept", "refused")
    return Entry(
        dataset="king_county",
        kind=kind,
        release=None if judged_only else digest(letter),
        # The judged model of release a has the digest 1111..., of b 2222...
        candidate=digest("0123456"[" abcdef".index(letter)]),
        actor="ana",
        reason="x",
        failure="x" if kind == "failed" else None,
    )


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ("", {}),
        ("+a", {"a": "champion"}),
        ("+a +b", {"a": "archived", "b": "champion"}),
        ("+a pb", {"a": "champion", "b": "challenger"}),
        ("+a pb vb", {"a": "archived", "b": "champion"}),
        ("+a pb xb", {"a": "champion", "b": "rejected"}),
        ("+a +b -a", {"a": "champion", "b": "archived"}),
        ("+a +b ca", {"a": "archived", "b": "champion"}),
        ("+a fb", {"a": "champion"}),
        # What a person was asked about one champion is not asked about the next.
        ("+a pb +c", {"a": "archived", "b": "candidate", "c": "champion"}),
        ("+a pb xb +c", {"a": "archived", "b": "rejected", "c": "champion"}),
        # A later verdict on the same model counts, but for what was champion once.
        ("+a pb kb", {"a": "champion", "b": "rejected"}),
        ("+a ka", {"a": "champion"}),
        ("+a +b ra", {"a": "archived", "b": "champion"}),
        ("+a rb +b", {"a": "archived", "b": "champion"}),
    ],
)
def test_the_standing_follows_from_the_records(story, told):
    found = standings(records(story))
    assert {letter: found[digest(letter)] for letter in told} == told
    assert sum(standing == "champion" for d, standing in found.items() if d[0].isalpha()) == ("+" in story)


def test_a_judged_model_stands_as_its_release_does_and_alone_it_is_rejected():
    found = standings(records("+a kb rc pd"))
    assert (found[digest("1")], found[digest("4")]) == ("champion", "challenger")
    assert (found[digest("2")], found[digest("3")]) == ("rejected", "rejected")
    assert digest("b") not in found


STORIES = {
    "candidate": "+z pa +y".replace("z", "f").replace("y", "e"),
    "challenger": "+f pa",
    "champion": "+a",
    "archived": "+a +b",
    "rejected": "+f pa xa",
}


@pytest.mark.parametrize("word", "+pvx-c")
@pytest.mark.parametrize("standing", STORIES)
def test_a_step_is_allowed_from_its_standings_and_refused_from_all_others(word, standing):
    before = records(STORIES[standing])
    assert standings(before)[digest("a")] == standing
    entry = record(f"{word}a")
    if standing in ALLOWED[entry.kind]:
        require_allowed(entry, before)
        return
    told = f"king_county: release {'a' * 12} is {standing}; only one that is "
    with pytest.raises(IllegalTransition, match=re.escape(told)):
        require_allowed(entry, before)


def test_the_table_of_steps_is_the_one_that_is_documented():
    every = {"candidate", "challenger", "champion", "archived", "rejected"}
    assert {kind: every - set(allowed) for kind, allowed in ALLOWED.items()} == {
        "promoted": {"champion"},
        "parked": {"champion"},
        "approved": every - {"challenger"},
        "rejected": every - {"challenger"},
        "rolled_back": every - {"archived"},
        "collected": {"champion", "challenger"},
    }


@pytest.mark.parametrize("word", ["ka", "ra", "fa"])
@pytest.mark.parametrize("standing", STORIES)
def test_a_verdict_against_and_a_failure_may_always_be_told(word, standing):
    require_allowed(record(word), records(STORIES[standing]))

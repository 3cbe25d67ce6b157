"""``hedonic rollback`` hands on what was asked, tells what serves, and exits by whose error it was."""

from __future__ import annotations

import json

import pytest

from hedonic.errors import HedonicError, UserError
from hedonic.promotion.record import Record
from hedonic.rollback import roll_back as library
from hedonic.rollback.roll_back import RolledBack

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def asked(monkeypatch):
    """A roll-back that notes what it is asked for, and what follows it."""
    noted = []

    def roll_back(settings, contract, to, *, reason):
        noted.append((contract.name, to, reason))
        record = Record(
            dataset=contract.name,
            kind="rolled_back",
            release=OLD,
            actor="ana",
            reason=reason,
            seq=3,
            at="2026-11-20T03:00:00+00:00",
            previous="0" * 64,
            hash="1" * 64,
        )
        return RolledBack(dataset=contract.name, left=NEW, record=record, url="http://127.0.0.1:3000")

    monkeypatch.setattr(library, "roll_back", roll_back)
    monkeypatch.setattr(library, "follow_up", lambda settings, done: noted.append(done.record.release))
    return noted


def test_by_default_it_goes_back_to_the_champion_before_by_hand(hedonic, asked):
    code, out, _ = hedonic("rollback", "toy")
    assert (code, asked) == (0, [("toy", None, "by hand"), OLD])
    assert out == f"toy: release {OLD} serves at http://127.0.0.1:3000 in place of {NEW[:16]}\n"


def test_target_and_reason_are_handed_on_and_machines_read_the_record(hedonic, asked):
    code, out, _ = hedonic("rollback", "toy", "--to", "2", "--reason", "too high", "--json")
    assert (code, asked[0]) == (0, ("toy", "2", "too high"))
    content = json.loads(out)
    assert (content["release"], content["left"], content["endpoint"]) == (OLD, NEW, "http://127.0.0.1:3000")
    assert (content["record"]["kind"], content["record"]["reason"]) == ("rolled_back", "too high")


@pytest.mark.parametrize(("error", "code"), [(UserError("no such version"), 2), (HedonicError("damaged"), 1)])
def test_whose_error_it_was_is_the_exit_code_and_nothing_follows(hedonic, asked, monkeypatch, error, code):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(library, "roll_back", refuse)
    assert (hedonic("rollback", "toy")[0], asked) == (code, [])


def test_an_unknown_data_set_is_told(hedonic, asked):
    code, _, err = hedonic("rollback", "nothing")
    assert (code, asked) == (2, [])
    assert "nothing" in err


def test_with_no_champion_there_is_nothing_to_roll_back(hedonic):
    code, _, err = hedonic("rollback", "toy")
    assert (code, "toy: no champion yet, so there is nothing to roll back" in err) == (2, True)

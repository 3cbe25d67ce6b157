"""``hedonic alerts``: what is open is told with its key, and a person can close it."""

from __future__ import annotations

import json

import pytest

from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.settings import Settings


@pytest.fixture
def book(project):
    return AlertBook(Settings(root=project, home=project / ".hedonic"))


def alert(key, severity="warning", **changes):
    told = {"kind": "verdict-refused", "title": f"{key} happened", "text": "worse by 1 %", **changes}
    return Alert(key=key, severity=severity, **told)


def test_open_alerts_are_told_the_worst_first_with_how_often_where_to_look_and_the_key(hedonic, book):
    book.raise_(alert("verdict-refused:toy"))
    book.raise_(alert("verdict-refused:toy"))
    book.raise_(alert("run-failed:toy", "critical", link="http://127.0.0.1:4200/runs/1"))
    book.raise_(alert("champion-promoted:toy", "info"))
    code, out, _ = hedonic("alerts")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("critical: run-failed:toy happened (since ")
    assert lines[1:4] == ["  worse by 1 %", "  http://127.0.0.1:4200/runs/1", "  key: run-failed:toy"]
    assert lines[4].startswith("warning: verdict-refused:toy happened (since ")
    assert lines[4].endswith(", 2 times)")
    assert "champion-promoted" not in out, "news is not open"
    recent = json.loads(hedonic("alerts", "--recent", "2", "--json")[1])
    assert [one["key"] for one in recent["alerts"]] == ["champion-promoted:toy", "run-failed:toy"]


def test_an_open_alert_is_closed_by_hand_and_another_key_is_refused_with_those_that_are_open(hedonic, book):
    book.raise_(alert("run-failed:toy", "critical"))
    code, _, err = hedonic("alerts", "--settle", "run-failed:other")
    assert code == 2
    assert "no alert 'run-failed:other' is open. Open are: run-failed:toy" in err
    assert [one.key for one in book.open()] == ["run-failed:toy"]
    code, out, _ = hedonic("alerts", "--settle", "run-failed:toy")
    assert (code, out.splitlines()) == (0, ["run-failed:toy is settled", "no alert is open"])
    assert book.open() == ()
    assert [told.event for told in book.told()] == ["raised", "settled"]


def test_without_a_book_there_is_no_alert(hedonic):
    assert hedonic("alerts")[:2] == (0, "no alert is open\n")
    assert hedonic("alerts", "--recent", "3")[:2] == (0, "no alert was ever raised\n")

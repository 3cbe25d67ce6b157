"""A history that was changed or lacks records: nothing follows it, and nobody goes by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from hedonic.errors import HedonicError
from hedonic.monitoring.alerts import AlertBook
from hedonic.monitoring.repair import repair, require_repaired
from hedonic.promotion import projection
from hedonic.promotion.history import Entry, open_history
from hedonic.promotion.pointer import pointer_path, project_pointer, read_pointer
from hedonic.promotion.projection import project
from hedonic.promotion.whole_history import head_tag, noted_head, require_whole
from hedonic.settings import Settings

A, B = "a" * 64, "b" * 64
DATASET = "village"


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, root=tmp_path)


def append(settings, release, expected, dataset=DATASET):
    with closing(open_history(settings)) as history:
        entry = Entry(dataset=dataset, kind="promoted", release=release, actor="ana", reason="x")
        return history.append(entry, expected_champion=expected)


def tamper(settings, statement):
    """Do what only someone can who takes the triggers away first."""
    with closing(sqlite3.connect(settings.home / "history.db")) as store:
        for name in ("update", "delete"):
            store.execute(f"DROP TRIGGER hedonic_history_no_{name}")
        store.execute(statement)
        store.commit()


def required(settings):
    with closing(open_history(settings)) as history:
        return require_whole(history, settings.home, DATASET)


CHANGED = "UPDATE hedonic_history SET body = replace(body, 'ana', 'eve') WHERE seq = 1"
CUT = "DELETE FROM hedonic_history WHERE seq = 2"


def test_of_a_whole_history_the_records_of_the_data_set_are_returned(settings):
    assert required(settings) == ()
    first = append(settings, A, None)
    append(settings, A, None, dataset="elsewhere")
    second = append(settings, B, A)
    project(settings, DATASET)
    assert required(settings) == (first, second)


def test_a_changed_record_is_named_and_nothing_follows_it(settings):
    append(settings, A, None)
    project(settings, DATASET)
    append(settings, B, A)
    tamper(settings, CHANGED)
    told = "village: the history is not whole: record 1: its content was changed.*Restore it from a backup"
    with pytest.raises(HedonicError, match=told):
        required(settings)
    (found,) = project(settings, DATASET)
    assert found.kind == "history-broken"
    assert read_pointer(settings.home, DATASET).release == A
    assert noted_head(settings.home, DATASET).startswith("1:")


def test_no_training_begins_on_a_changed_history_and_an_alert_stays_until_it_is_restored(settings):
    append(settings, A, None)
    require_repaired(settings, DATASET)
    assert AlertBook(settings).open() == ()
    tamper(settings, CHANGED)
    with pytest.raises(HedonicError, match="record 1: its content was changed"):
        require_repaired(settings, DATASET)
    (alert,) = AlertBook(settings).open()
    assert (alert.key, alert.severity) == ("history-broken:village", "critical")
    tamper(settings, CHANGED.replace("'ana', 'eve'", "'eve', 'ana'"))
    assert repair(settings, DATASET) == ()
    assert AlertBook(settings).open() == ()


def test_a_history_that_lost_its_last_record_is_not_gone_by(settings):
    append(settings, A, None)
    append(settings, B, A)
    project(settings, DATASET)
    assert len(required(settings)) == 2
    tamper(settings, CUT)
    with pytest.raises(HedonicError, match="village: record 2 of the history is missing"):
        required(settings)
    append(settings, B, A)
    with pytest.raises(HedonicError, match="village: record 2 of the history is another one"):
        required(settings)


def test_the_head_that_is_told_is_no_later_than_what_was_projected(settings, monkeypatch):
    """Killed between the two, the registry is behind: it would be told as moved by hand otherwise."""
    first, told = append(settings, A, None), []

    def promoted_meanwhile(history, home, dataset):
        found = project_pointer(history, home, dataset)
        if not told:
            append(settings, B, A)
        return found

    monkeypatch.setattr(projection, "project_pointer", promoted_meanwhile)
    monkeypatch.setattr(projection, "disagreements", lambda *_: ())
    monkeypatch.setattr(projection, "has_store", lambda _: True)
    monkeypatch.setattr(projection, "project_champion", lambda *_: None)
    monkeypatch.setattr(projection, "project_head", lambda settings, dataset, head: told.append(head))
    project(settings, DATASET)
    assert told[0] == head_tag(first)
    assert told[-1].startswith("2:")
    assert read_pointer(settings.home, DATASET).release == B
    assert pointer_path(settings.home, DATASET).exists()

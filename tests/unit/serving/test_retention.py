"""The service keeps answers no longer than it should, by itself, and no answer waits for it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from hedonic.errors import UserError
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_entry import microseconds
from hedonic.serving.retention import Retention
from tests.answered import answered
from tests.waiting import wait_for

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def keep(url):
    """Return what starts a retention; it is stopped at the end."""
    begun = []

    def start(days, **options):
        begun.append(Retention(url, days, **options))
        return begun[-1]

    yield start
    for retention in begun:
        retention.close()


def aged(days, **changes):
    return answered(at_us=microseconds(NOW - timedelta(days=days)), **changes)


def files(url):
    """Return every byte of a store's files."""
    return b"".join(part.read_bytes() for part in Path(url).parent.iterdir())


def kept(store):
    return [row.request_id for row in store.between()]


def test_what_is_too_old_goes_at_the_start_and_again_when_the_clock_moves_on(store, keep):
    store.append([aged(40, request_id="a"), aged(29, request_id="b"), aged(1, request_id="c")])
    clock = Clock()
    retention = keep(30, every_s=0.02, clock=clock)
    wait_for(lambda: retention.purged == 1)
    assert kept(store) == ["b", "c"]
    clock.now = NOW + timedelta(days=2)
    wait_for(lambda: retention.purged == 2)
    assert kept(store) == ["c"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_not_one_byte_of_it_stays_in_the_files(store, keep, url):
    store.append([aged(40, request_id=f"old-{n}") for n in range(1200)] + [aged(1, request_id="young")])
    keep(30, clock=Clock())

    wait_for(lambda: b"old-" not in files(url))
    assert b"young" in files(url)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_bytes_that_a_reader_held_or_another_process_left_go_as_soon_as_they_can(store, keep, url, caplog):
    store.append([aged(40, request_id=f"old-{n}") for n in range(1200)] + [aged(1, request_id="young")])

    reader = sqlite3.connect(url, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM hedonic_answered").fetchone()
    with caplog.at_level(logging.WARNING, "hedonic.serving"):
        first = keep(30, every_s=0.02, clock=Clock())
        wait_for(lambda: "bytes of the 1200 stay in the store's files" in caplog.text)
    first.close()
    assert caplog.text.count("bytes of") == 1
    assert (first.purged, b"old-" in files(url)) == (1200, True)
    reader.close()
    next_one = keep(30, clock=Clock())
    wait_for(lambda: b"old-" not in files(url))
    assert next_one.purged == 0


def test_after_the_start_nothing_is_deleted_before_the_hour_is_over(store, keep, caplog):
    store.append([aged(40)])
    with caplog.at_level(logging.INFO, "hedonic.serving"):
        retention = keep(30, clock=Clock())
        wait_for(lambda: "were deleted" in caplog.text, "the first purge is over")
    store.append([aged(40, request_id="late")])
    with pytest.raises(AssertionError, match="not within"):
        wait_for(lambda: retention.purged > 1, limit_s=0.3)  # as long as it rests 10 times
    started = time.monotonic()
    retention.close()
    assert time.monotonic() - started < 5  # the limit that ``close`` has for a thread that goes on
    assert (kept(store), retention.purged) == (["late"], 1)


def test_it_stops_between_two_steps(store, keep):
    store.append([aged(40) for _ in range(3000)])
    retention = keep(30, clock=Clock())
    wait_for(lambda: retention.purged)
    retention.close()
    assert 0 < retention.purged < 3000
    assert len(kept(store)) == 3000 - retention.purged


@pytest.mark.parametrize("days", [0, -1, float("nan")])
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_retention_that_is_no_number_of_days_is_refused_at_the_start(url, days):
    with pytest.raises(UserError, match="HEDONIC_LOG_RETENTION_DAYS: must be a number of days above 0"):
        Retention(url, days)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_store_that_is_away_is_told_once_and_purged_when_it_is_back(url, store, keep, postgres, caplog):
    store.append([aged(40)])
    store.close()
    postgres.stop()
    try:
        with caplog.at_level(logging.WARNING, "hedonic.serving"):
            retention = keep(30, every_s=0.02, clock=Clock())
            wait_for(lambda: "is not purged until" in caplog.text)
    finally:
        postgres.start()
    wait_for(lambda: retention.purged == 1)
    assert kept(store) == []
    assert caplog.text.count("is not purged until") == 1


def deleted_meanwhile(log, retention, n_rows):
    """Return how many rows were deleted while each durable answer was given, until so many are."""

    async def answer():
        purged = [retention.purged]
        while purged[-1] < n_rows:
            await log.record(answered())
            purged.append(retention.purged)
        return [after - before for before, after in pairwise(purged)]

    return asyncio.run(answer())


def test_durable_answers_go_on_while_a_month_is_deleted(url, store, keep):
    like = aged(40)
    store.append([like._replace(request_id=f"{n:032x}") for n in range(10_000)])
    log = PredictionLog.open(url, "durable", patience_s=30)
    meanwhile = deleted_meanwhile(log, keep(30, clock=Clock()), 10_000)
    assert log.close() == 0
    # In steps of 500, with an answer between most of them; a purge at once, or steps without rests, would
    # leave room for none or a few.
    assert sum(n > 0 for n in meanwhile) > 10

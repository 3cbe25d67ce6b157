"""The service keeps answers no longer than it should, by itself, and no answer waits for it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import statistics
import time
from datetime import UTC, datetime, timedelta
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

    def files():
        return b"".join(part.read_bytes() for part in Path(url).parent.iterdir())

    wait_for(lambda: b"old-" not in files())
    assert b"young" in files()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_bytes_that_a_reader_held_or_another_process_left_go_as_soon_as_they_can(store, keep, url, caplog):
    store.append([aged(40, request_id=f"old-{n}") for n in range(1200)] + [aged(1, request_id="young")])

    def files():
        return b"".join(part.read_bytes() for part in Path(url).parent.iterdir())

    reader = sqlite3.connect(url, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM hedonic_answered").fetchone()
    with caplog.at_level(logging.WARNING, "hedonic.serving"):
        first = keep(30, every_s=0.02, clock=Clock())
        wait_for(lambda: "is not purged until its store is free" in caplog.text)
    first.close()
    assert (first.purged, b"old-" in files()) == (1200, True)
    reader.close()
    next_one = keep(30, clock=Clock())
    wait_for(lambda: b"old-" not in files())
    assert next_one.purged == 0


def test_after_the_start_nothing_is_deleted_before_the_hour_is_over(store, keep):
    store.append([aged(40)])
    retention = keep(30, clock=Clock())
    wait_for(lambda: retention.purged == 1)
    store.append([aged(40, request_id="late")])
    started = time.monotonic()
    retention.close()
    assert time.monotonic() - started < 1
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


def durable_waits_s(log, while_true):
    """Return how long durable answers waited, one after the other, while something is true."""

    async def one():
        started = time.perf_counter()
        await log.record(answered())
        return time.perf_counter() - started

    async def all_of_them():
        waits = []
        while while_true() or len(waits) < 50:
            waits.append(await one())
        return waits

    return asyncio.run(all_of_them())


def test_durable_answers_go_on_while_a_month_is_deleted(url, store, keep):
    like = aged(40)
    store.append([like._replace(request_id=f"{n:032x}") for n in range(10_000)])
    log = PredictionLog.open(url, "durable")
    retention = keep(30, clock=Clock())
    waits = durable_waits_s(log, lambda: retention.purged < 10_000)
    assert log.close() == 0
    assert len(waits) > 200
    # A step holds the write lock for milliseconds; a whole purge at once would hold it for a second.
    assert statistics.quantiles(waits, n=100)[98] < 0.2
    assert max(waits) < 1.0

"""The prediction log takes every answer, slows none, and counts what it could not keep."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from hedonic.serving.prediction_log import INTERVAL_S, LogUnavailable, PredictionLog
from hedonic.serving.prediction_log_entry import EPOCH
from hedonic.serving.prediction_log_store import StoreUnavailable
from tests.answered import RELEASE, answered
from tests.waiting import wait_for


@contextmanager
def opened(url, mode="fast", **options):
    log = PredictionLog.open(url, mode, **options)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def locked(url):
    """Hold the table that answers go to, as another writer does."""
    if url.startswith("postgresql"):
        connection = psycopg.connect(url)
        connection.execute("LOCK TABLE hedonic_answered IN EXCLUSIVE MODE")
        yield
        connection.rollback()
    else:
        connection = sqlite3.connect(url, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    connection.close()


def run(answering):
    """Return what the answers came to; an answer that hangs fails its test."""
    return asyncio.run(asyncio.wait_for(answering, 10))


class Shelf:
    """A sink that keeps batches in memory, refuses while told to, and waits while held."""

    url = "shelf"

    def __init__(self, n_refusals=0, poison=None):
        self.kept, self.n_refusals, self.poison = [], n_refusals, poison
        self.free, self.closed = threading.Event(), False
        self.free.set()

    def append(self, batch):
        assert self.free.wait(10)
        if self.n_refusals:
            self.n_refusals -= 1
            raise StoreUnavailable("shelf: the disk is full")
        if self.poison in [one.request_id for one in batch]:
            raise OverflowError("too large")
        self.kept += batch

    def close(self):
        self.closed = True


def test_an_answer_comes_back_as_it_was_given(url, store):
    given = answered({"lat": 47.51120000000001, "zipcode": "98178"}, estimates=(0.1 + 0.2,), request_id="r1")
    with opened(url) as log:
        assert log.record(given) is None
    (row,) = store.rows("r1")
    assert row.inputs == {"lat": 47.51120000000001, "zipcode": "98178"}
    assert (row.estimate, row.interval_90) == (0.1 + 0.2, ((0.1 + 0.2) * 0.8, (0.1 + 0.2) * 1.2))
    assert (row.release, row.route, row.latency_ms, row.grade) == (RELEASE, "/predict", 0.25, "B")
    assert row.at == EPOCH + timedelta(microseconds=given.at_us)
    assert store.rows("another") == ()


def test_in_fast_mode_an_answer_is_in_the_store_a_moment_later(url, store):
    with opened(url) as log:
        log.record(answered(request_id="r1"))
        wait_for(lambda: store.rows("r1"))
        wait_for(lambda: log.pending == 0)
        assert (log.recorded, log.dropped) == (1, 0)
    assert INTERVAL_S < 1


def test_in_durable_mode_what_was_awaited_is_in_the_store(url, store):
    async def answer(log, n):
        await log.record(answered(request_id=f"r{n}"))
        return len(store.rows(f"r{n}"))

    async def answer_all(log):
        return await asyncio.gather(*(answer(log, n) for n in range(50)))

    with opened(url, "durable") as log:
        assert run(answer_all(log)) == [1] * 50


def test_a_durable_answer_is_not_given_before_the_store_has_it():
    shelf = Shelf()
    log = PredictionLog(shelf, "durable")

    async def one():
        shelf.free.clear()
        waiting = log.record(answered())
        early, _ = await asyncio.wait([waiting], timeout=0.1)
        shelf.free.set()
        await waiting
        return early

    assert run(one()) == set()
    assert log.close() == 0
    assert len(shelf.kept) == 1


def test_a_durable_answer_fails_when_the_store_stays_locked_and_the_next_one_does_not(
    url, store, monkeypatch
):
    monkeypatch.setattr("hedonic.serving.prediction_log._HUNG_S", 30)  # a slow store is not a mute one

    async def one(log, request_id):
        await log.record(answered(request_id=request_id))

    with opened(url, "durable", patience_s=0.2) as log:
        with locked(url), pytest.raises(LogUnavailable, match="database is locked|lock timeout"):
            run(one(log, "lost"))
        assert log.dropped == 1
        assert log.failing
        run(one(log, "kept"))
        assert not log.failing
    assert [row.request_id for row in store.between()] == ["kept"]


def test_a_caller_that_goes_away_takes_no_other_answer_with_it():
    shelf = Shelf()
    log = PredictionLog(shelf, "durable")

    async def one(request_id):
        await log.record(answered(request_id=request_id))

    async def both():
        shelf.free.clear()
        gone, stays = asyncio.create_task(one("gone")), asyncio.create_task(one("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        shelf.free.set()
        await stays
        assert gone.cancelled()

    run(both())
    log.close()
    assert {one.request_id for one in shelf.kept} == {"gone", "stays"}


def test_a_full_buffer_drops_the_newest_answers_and_counts_them():
    shelf = Shelf()
    shelf.free.clear()
    size = len(answered().request) + len(answered().response) + 512
    log = PredictionLog(shelf, capacity_bytes=10 * size)
    for n in range(25):
        log.record(answered(request_id=f"{n:032d}"))
    assert (log.recorded, log.dropped, log.pending) == (10, 15, 10)
    shelf.free.set()
    wait_for(lambda: log.pending == 0)
    log.record(answered(request_id="after"))
    assert log.close() == 15
    assert [one.request_id for one in shelf.kept] == [*(f"{n:032d}" for n in range(10)), "after"]
    assert shelf.closed


def test_a_full_buffer_refuses_a_durable_answer():
    log = PredictionLog(Shelf(), "durable", capacity_bytes=1)

    async def one():
        await log.record(answered())

    with pytest.raises(LogUnavailable, match="the buffer is full"):
        run(one())
    log.close()


@pytest.mark.parametrize(("lasting_s", "told"), [(60.0, []), (0.0, ["ERROR", "WARNING"])])
def test_a_store_that_comes_back_gets_every_answer_once_and_in_order_and_is_told_if_it_took_long(
    monkeypatch, caplog, lasting_s, told
):
    monkeypatch.setattr("hedonic.serving.prediction_log._LASTING_S", lasting_s)
    shelf = Shelf(n_refusals=3)
    log = PredictionLog(shelf)
    for n in range(20):
        log.record(answered(request_id=f"r{n}"))
    wait_for(lambda: log.pending == 0)
    assert [one.request_id for one in shelf.kept] == [f"r{n}" for n in range(20)]
    assert (log.close(), log.failing) == (0, False)
    assert [record.levelname for record in caplog.records if record.name == "hedonic.serving"] == told


def test_an_answer_that_cannot_be_stored_takes_no_other_with_it():
    shelf = Shelf(poison="r3")
    log = PredictionLog(shelf)
    for n in range(6):
        log.record(answered(request_id=f"r{n}"))
    assert log.close() == 1
    assert [one.request_id for one in shelf.kept] == ["r0", "r1", "r2", "r4", "r5"]


def test_closing_waits_no_longer_than_its_deadline_and_counts_what_is_left():
    shelf = Shelf(n_refusals=10**9)
    log = PredictionLog(shelf)
    for _ in range(5):
        log.record(answered())
    started = time.monotonic()
    assert log.close(timeout_s=0.3) == 5
    assert time.monotonic() - started < 2
    log.record(answered())
    assert (log.dropped, log.pending) == (6, 0)


def test_closing_does_not_wait_for_a_store_that_hangs():
    shelf = Shelf()
    shelf.free.clear()
    log = PredictionLog(shelf)
    log.record(answered())
    assert log.close(timeout_s=0.1) == 1
    shelf.free.set()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"instances": [{"x": 1}]}).encode("utf-16"),
        json.dumps({"instances": [{"x": 1}]}).encode("utf-16-le"),
        b"\xef\xbb\xbf" + b'{"instances": [{"x": 1}]}',
        b'{"instances": [{"x": 1' + b" " * 1_000_000 + b"}]}",
    ],
    ids=["utf-16", "utf-16-le", "byte order mark", "a megabyte of blanks"],
)
def test_a_request_is_stored_as_plain_json_however_it_was_written(url, store, body):
    with opened(url) as log:
        log.record(answered({"x": 1}, request_id="r1", request=body))
    assert store.rows("r1")[0].inputs == {"x": 1}
    assert store.read("SELECT request FROM hedonic_answered") == [(b'{"instances":[{"x":1}]}',)]


def test_the_log_brings_nothing_heavy_into_the_served_process():
    code = (
        "import sys, hedonic.serving.prediction_log, hedonic.serving.feedback, hedonic.serving.erasure\n"
        "print({'pandas', 'sklearn', 'sqlalchemy', 'prefect', 'psycopg', 'mlflow'} & set(sys.modules) or '')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""

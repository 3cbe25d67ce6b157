"""A prediction log whose Postgres is stopped, frozen, shared, or not there yet."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore, StoreUnavailable
from tests.answered import answered
from tests.postgres import PASSWORD
from tests.waiting import wait_for

SIZE = len(answered().request) + len(answered().response) + 512


@pytest.fixture
def stopped(postgres, postgres_url):
    """Yield what starts the stopped server again; it runs afterwards in any case."""
    postgres.stop()
    yield postgres.start
    if not postgres.running:
        postgres.start()


@pytest.fixture
def log(postgres_url, request):
    log = PredictionLog.open(postgres_url, **request.param)
    yield log
    log.close()


def stored(url):
    store = PredictionLogStore(url)
    ids = [row.request_id for row in store.between()]
    store.close()
    return ids


def answer(log, *request_ids):
    """Return what became of durable answers, and how long the slowest was waited for."""

    async def one(request_id):
        await log.record(answered(request_id=request_id))

    async def together():
        return await asyncio.wait_for(asyncio.gather(*map(one, request_ids), return_exceptions=True), 20)

    started = time.monotonic()
    return asyncio.run(together()), time.monotonic() - started


@pytest.mark.parametrize("log", [{"capacity_bytes": 100 * SIZE}], indirect=True)
def test_while_postgres_is_away_answers_flow_and_drops_are_counted_and_it_comes_back_by_itself(
    log, postgres_url, stopped
):
    batch = [answered(request_id=f"{n:032x}") for n in range(250)]
    waits_s = []
    for position, one in enumerate(batch):
        if position == 50:
            wait_for(lambda: log.failing)
        started = time.perf_counter()
        log.record(one)
        waits_s.append(time.perf_counter() - started)
    assert sorted(waits_s)[-3] < 0.05  # the machine may stall twice
    assert (log.recorded, log.dropped, log.pending) == (100, 150, 100)
    assert log.fill == pytest.approx(1.0, abs=0.01)
    stopped()
    wait_for(lambda: log.pending == 0)
    assert not log.failing
    assert (log.dropped, log.fill) == (150, 0.0)
    assert stored(postgres_url) == [one.request_id for one in batch[:100]]


@pytest.mark.parametrize("log", [{"mode": "durable", "patience_s": 0.3}], indirect=True)
def test_no_durable_answer_is_given_while_postgres_is_away_and_the_next_one_is(
    log, postgres_url, postgres, monkeypatch
):
    monkeypatch.setattr("hedonic.serving.prediction_log._HUNG_S", 30)  # a slow store is not a mute one
    assert answer(log, "before")[0] == [None]
    postgres.stop()
    (refused,), waited_s = answer(log, "lost")
    postgres.start()
    assert isinstance(refused, LogUnavailable)
    assert PASSWORD not in str(refused)
    assert waited_s < 10
    assert answer(log, "after")[0] == [None]
    assert (log.dropped, log.failing) == (1, False)
    assert stored(postgres_url) == ["before", "after"]


@pytest.mark.parametrize("log", [{"mode": "durable", "patience_s": 0.3}], indirect=True)
def test_no_durable_answer_waits_for_a_postgres_that_hangs(log, postgres_url, postgres, monkeypatch):
    monkeypatch.setattr("hedonic.serving.prediction_log._HUNG_S", 5)
    assert answer(log, "before")[0] == [None]
    postgres.freeze()
    try:
        refused, waited_s = answer(log, *(f"lost-{n}" for n in range(20)))
        assert log.failing
        again, waited_again_s = answer(log, "lost-too")
    finally:
        postgres.thaw()
    assert all(isinstance(one, LogUnavailable) for one in (*refused, *again))
    assert "does not answer" in str(refused[0])
    assert waited_s < 0.3 + 5 + 10
    assert waited_again_s < 5  # not as long again
    wait_for(lambda: not log.failing)
    assert answer(log, "after")[0] == [None]
    ids = stored(postgres_url)
    assert {"before", "after"} <= set(ids)
    assert len(ids) + log.dropped == 23  # each was kept or counted, those in doubt too
    assert log.pending == 0


def test_a_service_in_fast_mode_starts_without_its_postgres_and_writes_when_it_is_there(
    postgres_url, stopped, caplog
):
    with caplog.at_level(logging.ERROR, "hedonic.serving"):
        log = PredictionLog.open(postgres_url)
    assert "predictions are not logged yet: prediction log postgresql://hedonic@127.0.0.1" in caplog.text
    assert PASSWORD not in caplog.text
    log.record(answered(request_id="r1"))
    wait_for(lambda: log.failing)
    stopped()
    wait_for(lambda: log.pending == 0)
    assert log.close() == 0
    assert stored(postgres_url) == ["r1"]


@pytest.mark.usefixtures("stopped")
def test_a_service_in_durable_mode_does_not_start_without_its_postgres(postgres_url):
    with pytest.raises(StoreUnavailable, match="127.0.0.1.*refused.*HEDONIC_PREDICTION_LOG_URL") as refused:
        PredictionLog.open(postgres_url, "durable")
    assert PASSWORD not in str(refused.value)


def test_a_wrong_password_is_told_without_it(postgres_url):
    with pytest.raises(StoreUnavailable, match="password authentication failed") as refused:
        PredictionLogStore(postgres_url.replace(PASSWORD, "a-wrong-one"))
    assert "a-wrong-one" not in str(refused.value)


def test_the_name_that_sqlalchemy_gives_the_driver_is_understood(postgres_url):
    PredictionLogStore(postgres_url.replace("postgresql://", "postgresql+psycopg://")).close()
    assert stored(postgres_url) == []


def test_stores_that_make_the_tables_at_once_make_them_once(postgres_url):
    together = threading.Barrier(6)

    def write(number):
        together.wait(10)
        store = PredictionLogStore(postgres_url)
        for n in range(20):
            store.append([answered(request_id=f"{number}-{n}-{k}") for k in range(10)])
        store.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert set(stored(postgres_url)) == {
        f"{number}-{n}-{k}" for number in range(6) for n in range(20) for k in range(10)
    }
    store = PredictionLogStore(postgres_url)
    assert store.read("SELECT version FROM hedonic_log_format") == [(1,)]
    store.close()


def test_a_commit_is_on_disk_even_where_the_server_is_told_not_to_wait_for_it(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone()
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = PredictionLogStore(postgres_url)
    assert store.read("SHOW synchronous_commit") == [("on",)]
    store.close()

"""A service killed while it logs: durable answers stay, fast ones but those of the last second."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore
from tests.answered import answered
from tests.drills import FULL, count
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.drill]

ROOT = Path(__file__).resolve().parents[2]
DRILLS = count(few=3, promised=20)
LOSS_S = 1.0 if FULL else 5.0  # 1 s is stated of a machine whose disk does nothing else: `make drills`

SERVICE = textwrap.dedent(
    """
    import asyncio, os, sys, time
    from hedonic.serving.prediction_log import PredictionLog
    from tests.answered import answered

    log = PredictionLog.open(sys.argv[1], sys.argv[2])
    like = answered()

    async def caller(number):
        for n in range(10**9):
            one = like._replace(request_id=f"{os.getpid()}-{number}-{n}", at_us=time.time_ns() // 1000)
            waiting = log.record(one)
            if waiting is not None:
                await waiting
            else:
                await asyncio.sleep(0.01)
            os.write(1, f"{one.request_id} {time.monotonic()}\\n".encode())

    async def serve():
        await asyncio.gather(*(caller(number) for number in range(32)))

    asyncio.run(serve())
    """
)


def kill_while_logging(url, mode, run_s):
    """Return the acknowledged request ids with their times, and when the service was killed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", SERVICE, url, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as service:
        first = service.stdout.readline()  # it is up
        lines, stop_at = [first], time.monotonic() + run_s
        while time.monotonic() < stop_at or len(lines) <= 60:
            lines.append(service.stdout.readline())
        killed_at = time.monotonic()
        service.send_signal(signal.SIGKILL)
        lines += service.stdout.read().splitlines()
        assert service.wait() == -signal.SIGKILL
    pairs = [line.split() for line in lines if line.strip()]
    # A line cut in two by the kill was not read by anybody either.
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}, killed_at


def stored_ids(url):
    store = PredictionLogStore(url)
    ids = [row.request_id for row in store.between()]
    if store.is_file:
        assert store.read("PRAGMA integrity_check") == [("ok",)]
    store.close()
    assert len(ids) == len(set(ids))
    return set(ids)


def durable_drills(url_of, times):
    """Return how many answers were acknowledged in all, and how many of them are not in the store."""
    n_acknowledged = n_lost = 0
    for drill in range(times):
        url = url_of(drill)
        acknowledged, _ = kill_while_logging(url, "durable", random.Random(drill).uniform(0.3, 1.0))
        assert len(acknowledged) > 20
        n_acknowledged += len(acknowledged)
        n_lost += len(acknowledged.keys() - stored_ids(url))
    return n_acknowledged, n_lost


def test_a_durable_answer_survives_kill_9(tmp_path, drill_table):
    n_acknowledged, n_lost = durable_drills(lambda drill: str(tmp_path / f"{drill}.db"), DRILLS)
    found = f"{n_acknowledged:,} answers acknowledged, {n_lost} of them lost"
    drill_table.add("kill -9 while logging, durable, SQLite", DRILLS, found)
    assert n_lost == 0


def test_a_durable_answer_in_postgres_survives_kill_9(postgres_url, drill_table):
    times = count(few=1, promised=5)
    n_acknowledged, n_lost = durable_drills(lambda _: postgres_url, times)
    found = f"{n_acknowledged:,} answers acknowledged, {n_lost} of them lost"
    drill_table.add("kill -9 while logging, durable, Postgres", times, found)
    assert n_lost == 0


def test_a_fast_answer_older_than_a_second_survives_kill_9(tmp_path, drill_table):
    n_given = n_lost = n_late = 0
    oldest_lost_s = 0.0
    for drill in range(DRILLS):
        url = str(tmp_path / f"{drill}.db")
        given, killed_at = kill_while_logging(url, "fast", LOSS_S + random.Random(drill).uniform(0.3, 1.0))
        lost = {request_id: killed_at - given[request_id] for request_id in given.keys() - stored_ids(url)}
        assert sum(at < killed_at - LOSS_S for at in given.values()) > 20
        n_given, n_lost = n_given + len(given), n_lost + len(lost)
        n_late += sum(age_s > LOSS_S for age_s in lost.values())
        oldest_lost_s = max(oldest_lost_s, *lost.values(), 0.0)
    found = f"{n_given:,} answers given, {n_lost:,} lost, the oldest {oldest_lost_s:.2f} s before the kill"
    drill_table.add("kill -9 while logging, fast, SQLite", DRILLS, found)
    assert n_late == 0


def test_a_log_that_was_killed_is_written_on(tmp_path):
    url = str(tmp_path / "log.db")
    acknowledged, _ = kill_while_logging(url, "durable", 0.2)
    log = PredictionLog.open(url)
    log.record(answered(request_id="after"))
    assert log.close() == 0
    assert {"after", *acknowledged} <= stored_ids(url)


def test_a_locked_store_delays_no_answer_in_fast_mode_and_every_drop_is_counted(tmp_path):
    path = tmp_path / "log.db"
    size = len(answered().request) + len(answered().response) + 512
    log = PredictionLog.open(str(path), capacity_bytes=500 * size)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = [answered() for _ in range(4000)]
    times_s = []
    for position, one in enumerate(batch):
        if position % 1000 == 0:
            time.sleep(0.3)  # the writer meets the lock
        started = time.perf_counter()
        log.record(one)
        times_s.append(time.perf_counter() - started)
    wait_for(lambda: log.failing)
    assert (log.recorded, log.dropped, log.pending) == (500, 3500, 500)
    # A record that waited for the store would take its busy timeout, 100 ms and more.
    assert sorted(times_s)[int(0.999 * len(times_s))] < 0.02
    other.execute("COMMIT")
    assert log.close() == 3500
    assert stored_ids(str(path)) == {one.request_id for one in batch[:500]}

"""What the prediction log tells of itself is enough to be alerted by."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_figures import log_figures
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.retention import Retention
from tests.answered import answered
from tests.waiting import wait_for

SIZE = len(answered().request) + len(answered().response) + 512


def told(log, retention=None):
    return {
        figure.name.removeprefix("hedonic_prediction_log_"): figure.value
        for figure in log_figures(log, retention)
    }


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log.db")


def test_a_store_that_takes_nothing_is_seen_in_the_figures_and_so_is_its_return(path):
    log = PredictionLog.open(path, capacity_bytes=10 * SIZE)
    assert told(log) == {"dropped_total": 0, "buffered": 0, "buffer_fill": 0, "up": 1}
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(15):
        log.record(answered())
    wait_for(lambda: told(log)["up"] == 0)
    assert told(log) == {
        "dropped_total": 5, "buffered": 10, "buffer_fill": pytest.approx(1, abs=0.01), "up": 0,
    }  # fmt: skip
    other.execute("COMMIT")
    wait_for(lambda: log.pending == 0)
    assert told(log) == {"dropped_total": 5, "buffered": 0, "buffer_fill": 0, "up": 1}
    log.close()


def test_what_the_retention_deleted_is_counted(path):
    store = PredictionLogStore(path)
    store.append([answered({"x": 1}, {"x": 2}, at_us=1)])
    retention = Retention(path, 30, clock=lambda: datetime.now(UTC))
    wait_for(lambda: told(None, retention) == {"dropped_total": 0, "purged_total": 2})
    retention.close()
    store.close()


def test_where_nothing_is_logged_there_are_no_drops_and_nothing_else():
    assert told(None) == {"dropped_total": 0}

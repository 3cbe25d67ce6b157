"""A real endpoint that logs to a real Postgres, which goes away under it and comes back."""

from __future__ import annotations

import contextlib
import signal
import subprocess

import pytest

from hedonic.serving.feedback import Feedback
from hedonic.serving.prediction_log_store import PredictionLogStore
from tests.ports import free_port
from tests.postgres import PASSWORD
from tests.serving.conftest import (
    ROOT,
    Served,
    crown,
    serve_command,
    serving_environment,
    wait_until_ready,
)
from tests.tiny_release import ROW, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def serving(tmp_path, url, mode, **environment):
    release = tiny_release(tmp_path / "releases")
    crown(tmp_path, release)
    served = Served(free_port(), release, tmp_path / "serve.log")
    variables = {"HEDONIC_PREDICTION_LOG_URL": url, "HEDONIC_PREDICTION_LOG_MODE": mode, **environment}
    with served.log.open("w") as log:
        process = subprocess.Popen(
            serve_command(served.port), cwd=ROOT, env=serving_environment(tmp_path) | variables,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_until_ready(served, process)
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert PASSWORD not in served.log.read_text()


def metric(served, name):
    lines = served.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def logged(url):
    store = PredictionLogStore(url)
    ids = {entry.request_id for entry in store.between()}
    store.close()
    return ids


def test_in_fast_mode_no_prediction_fails_while_postgres_is_away(tmp_path, postgres, postgres_url):
    with serving(tmp_path, postgres_url, "fast", HEDONIC_LOG_RETENTION_DAYS="30") as served:
        ids = {served.predict(ROW).json["request_id"]}
        wait_for(lambda: logged(postgres_url) == ids)
        postgres.stop()
        try:
            for _ in range(50):
                answer = served.predict(ROW)
                assert answer.status == 200
                ids.add(answer.json["request_id"])
            wait_for(lambda: metric(served, "hedonic_prediction_log_up") == 0)
            assert metric(served, "hedonic_prediction_log_buffered") == 50
            assert metric(served, "hedonic_prediction_log_dropped_total") == 0
            report = served.post({"request_id": min(ids), "price": 5.0}, "/feedback")
            assert (report.status, report.json["error"]["code"]) == (503, "log_unavailable")
        finally:
            postgres.start()
        wait_for(lambda: logged(postgres_url) == ids)
        assert metric(served, "hedonic_prediction_log_up") == 1
        assert metric(served, "hedonic_prediction_log_purged_total") == 0
        report = served.post({"request_id": min(ids), "price": 5.0}, "/feedback")
        assert (report.status, report.json["outcome"]) == (200, "recorded")
    store = PredictionLogStore(postgres_url)
    assert [one.price for one in Feedback(store).labelled()] == [5.0]
    store.close()


def test_in_durable_mode_no_answer_is_given_that_postgres_does_not_hold(tmp_path, postgres, postgres_url):
    with serving(tmp_path, postgres_url, "durable") as served:
        before = served.predict(ROW)
        assert logged(postgres_url) == {before.json["request_id"]}
        postgres.stop()
        try:
            refused = served.predict(ROW)
        finally:
            postgres.start()
        assert (refused.status, refused.json["error"]["code"]) == (503, "log_unavailable")
        assert "predictions" not in refused.json
        after = served.predict(ROW)
        assert after.status == 200
        assert logged(postgres_url) == {before.json["request_id"], after.json["request_id"]}

"""The traffic in numbers."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from hedonic.model.manifest import ReleaseRecord
from hedonic.serving.asgi import Exchange
from hedonic.serving.observed_predictor import observed
from hedonic.serving.predictor import load_release
from hedonic.serving.process_figures import Figure
from hedonic.serving.traffic_metrics import TrafficMetrics
from tests.tiny_release import ROW, tiny_release

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return TrafficMetrics(["/predict", "/explain"], registry=registry)


def finished(path="/predict", status=200, release="r1", outcome="", seconds=0.003):
    return Exchange(
        "POST", path, status=status, release=release, outcome=outcome, body=b"12", n_sent=5
    ), seconds


def figures(text):
    """Return what Prometheus reads, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_release_and_outcome(metrics, registry):
    for status, outcome in (
        (200, ""),
        (200, ""),
        (400, ""),
        (503, "overloaded"),
        (503, ""),
        (500, ""),
        (0, ""),
    ):
        metrics.finished(*finished(status=status, outcome=outcome))

    def count(outcome):
        labels = {"route": "/predict", "release": "r1", "outcome": outcome}
        return registry.get_sample_value("hedonic_requests_total", labels)

    got = {
        name: count(name)
        for name in ("ok", "invalid_request", "overloaded", "not_ready", "error", "caller_gone")
    }
    assert got == {
        "ok": 2,
        "invalid_request": 1,
        "overloaded": 1,
        "not_ready": 1,
        "error": 1,
        "caller_gone": 1,
    }


def test_paths_that_callers_make_up_are_counted_together(metrics, registry):
    for n in range(1000):
        metrics.finished(*finished(path=f"/{n}", status=404, release=""))
    labels = {"route": "other", "release": "", "outcome": "not_found"}
    assert registry.get_sample_value("hedonic_requests_total", labels) == 1000
    (family,) = [f for f in registry.collect() if f.name == "hedonic_requests"]
    assert len([s for s in family.samples if s.name.endswith("_total")]) == 1


def test_latency_is_a_histogram_by_route(metrics, registry):
    for seconds in (0.0004, 0.003, 0.2):
        metrics.finished(*finished(seconds=seconds))

    def below(limit):
        labels = {"route": "/predict", "le": limit}
        return registry.get_sample_value("hedonic_request_duration_seconds_bucket", labels)

    assert [below(limit) for limit in ("0.0005", "0.002", "0.005", "0.25", "+Inf")] == [1, 1, 2, 3, 3]


def test_estimates_are_counted_with_sum_least_and_greatest(metrics, registry, release):
    watched = observed(release, metrics.answered)
    rows = [ROW, {**ROW, "area": 2000.0, "bedrooms": 4}, {**ROW, "quarter": "Old Town"}]
    one, two = (json.dumps({"instances": part}).encode() for part in (rows[:1], rows[1:]))
    predictions = watched.predictor.answer(one) + watched.predictor.answer(two)
    assert predictions == release.predictor.predict(rows)
    estimates = [prediction["estimate"] for prediction in predictions]
    labels = {"release": release.model.release, "unit": "USD"}
    assert registry.get_sample_value("hedonic_estimates_total", labels) == 3
    assert registry.get_sample_value("hedonic_estimates_sum", labels) == pytest.approx(math.fsum(estimates))
    assert registry.get_sample_value("hedonic_estimate_min", labels) == min(estimates)
    assert registry.get_sample_value("hedonic_estimate_max", labels) == max(estimates)


def test_inputs_outside_what_training_saw_are_counted_by_field_and_other_warnings_are_not(
    metrics, registry, release
):
    watched = observed(release, metrics.answered)
    rows = [
        {**ROW, "area": 9000},
        {**ROW, "area": 9500, "valuation_date": "2020-01-01"},
        {**ROW, "bedrooms": 0},
    ]
    watched.predictor.answer(json.dumps({"instances": rows}).encode())

    def count(field):
        labels = {"release": release.model.release, "field": field}
        return registry.get_sample_value("hedonic_out_of_range_inputs_total", labels)

    assert [count(field) for field in ("area", "valuation_date", "bedrooms", "A")] == [2, 1, None, None]


def test_golden_rows_are_no_traffic(metrics, registry, release):
    observed(release, metrics.answered).predictor.predict([ROW])
    assert [f for f in registry.collect() if f.name == "hedonic_estimates" and f.samples] == []


def test_a_scrape_reads_model_age_log_drops_bytes_and_the_process(registry, release):
    dropped = [0.0]

    def of_log():
        return [Figure("hedonic_prediction_log_dropped_total", "counter", "Drops", dropped[0])]

    metrics = TrafficMetrics(["/predict"], of_log, "3", registry)
    made = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    digest = release.model.release
    record = ReleaseRecord(dataset="tiny_town", release=digest, created_by="x", created_at=made)
    dropped[0] = 7
    metrics.finished(*finished())
    got = figures(metrics.at_scrape(replace(release, record=record)))
    worker = (("worker", "3"),)
    assert got["hedonic_model_age_seconds", (("release", digest),)] == pytest.approx(7200, abs=30)
    names = (("name", "hedonic-tiny_town"), ("release", digest), ("version", digest[:16]))
    assert got["hedonic_model_info", names] == 1
    assert got["hedonic_prediction_log_dropped_total", worker] == 7
    assert got["hedonic_http_received_bytes_total", worker] == 2
    assert got["hedonic_http_sent_bytes_total", worker] == 5
    assert 10e6 < got["hedonic_process_resident_memory_bytes", worker] < 10e9
    assert got["hedonic_process_open_files", worker] >= 3
    assert ("hedonic_network_received_bytes_total", (("interface", "lo"), *worker)) in got
    assert ("hedonic_network_sent_bytes_total", (("interface", "lo"), *worker)) in got


def test_the_cpu_time_grows_with_work(metrics):
    key = ("hedonic_process_cpu_seconds_total", (("worker", "1"),))
    before = figures(metrics.at_scrape(None))[key]
    while time.process_time() < before + 0.05:
        sum(range(1000))
    assert figures(metrics.at_scrape(None))[key] >= before + 0.04


def test_without_a_log_a_record_or_a_release_nothing_is_said_of_them(metrics, release):
    told = metrics.at_scrape(replace(release, record=None)) + metrics.at_scrape(None)
    assert "age" not in told
    assert "dropped" not in told


def test_in_multiprocess_mode_the_counts_of_all_workers_are_added(tmp_path):
    work = (
        "from hedonic.serving.traffic_metrics import TrafficMetrics as T\n"
        "from hedonic.serving.asgi import Exchange\n"
        "T(['/predict']).finished(Exchange('POST', '/predict', status=200, release='r'), 0.001)\n"
    )
    read = (
        "from prometheus_client import CollectorRegistry, generate_latest, multiprocess\n"
        "registry = CollectorRegistry(); multiprocess.MultiProcessCollector(registry)\n"
        "print(generate_latest(registry).decode())\n"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    for code in (work, work, read):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    key = ("hedonic_requests_total", (("outcome", "ok"), ("release", "r"), ("route", "/predict")))
    assert figures(done.stdout)[key] == 2

"""The traffic in numbers, for Prometheus: requests, latency, estimates, and what the process uses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from hedonic.serving.asgi import Exchange
from hedonic.serving.predictor import Prediction, Release
from hedonic.serving.process_figures import Figure, exposition, process_figures

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER_ROUTE = "other"

_OUTCOMES = {
    0: "caller_gone", 400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found",
    405: "method_not_allowed", 408: "request_timeout", 413: "payload_too_large",
    415: "unsupported_media_type", 429: "rate_limited", 503: "not_ready",
}  # fmt: skip
_OUTSIDE = " is outside what training saw "


class TrafficMetrics:
    """Counts what is asked and answered.

    Counters and histograms are prometheus_client's, shared between workers through the files that
    BentoML's ``/metrics`` reads; what is read at the time of a scrape is in ``at_scrape``.
    """

    def __init__(
        self,
        routes: Iterable[str],
        log_figures: Callable[[], Iterable[Figure]] | None = None,
        worker: str = "1",
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Register the metrics.

        Args:
            routes: paths that are counted by name; all others are counted together, so that a caller who
                makes up paths fills no memory.
            log_figures: gives what is to be told of the prediction log.
            worker: which of the service's processes this is.
            registry: default: prometheus_client's own. It must be imported after the directory of its
                multiprocess mode is set, so it is imported here.
        """
        import prometheus_client as prometheus

        registry = registry or prometheus.REGISTRY
        self._routes = frozenset(routes)
        self._log_figures = log_figures
        self._worker = (("worker", worker),)
        self._requests = prometheus.Counter(
            "hedonic_requests", "Requests by route, release and outcome", ["route", "release", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._latency = prometheus.Histogram(
            "hedonic_request_duration_seconds", "From the end of the headers to the end of the answer",
            ["route"], buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        labels = ["release", "unit"]
        self._estimates = prometheus.Counter(
            "hedonic_estimates", "Estimates given", labels, registry=registry
        )
        self._sum = prometheus.Gauge(
            "hedonic_estimates_sum", "Sum of the estimates given", labels, registry=registry,
            multiprocess_mode="sum",
        )  # fmt: skip
        self._least = prometheus.Gauge(
            "hedonic_estimate_min", "Least estimate given", labels, registry=registry, multiprocess_mode="min"
        )
        self._greatest = prometheus.Gauge(
            "hedonic_estimate_max", "Greatest estimate given", labels, registry=registry,
            multiprocess_mode="max",
        )  # fmt: skip
        self._outside = prometheus.Counter(
            "hedonic_out_of_range_inputs", "Inputs outside what training saw", ["release", "field"],
            registry=registry,
        )  # fmt: skip
        self._rollouts = prometheus.Counter(
            "hedonic_rollouts", "Releases that were to be served next, by outcome", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self._by_outcome: dict[tuple[str, str, str], Counter] = {}
        self._by_route: dict[str, Histogram] = {}
        self._by_release: dict[str, _Estimates] = {}
        self._n_received = self._n_sent = 0

    def finished(self, exchange: Exchange, duration_s: float) -> None:
        """Count a request that came to its end."""
        route = exchange.path if exchange.path in self._routes else OTHER_ROUTE
        key = (route, exchange.release, exchange.outcome or _outcome(exchange.status))
        requests = self._by_outcome.get(key)
        if requests is None:
            requests = self._by_outcome[key] = self._requests.labels(*key)
        latency = self._by_route.get(route)
        if latency is None:
            latency = self._by_route[route] = self._latency.labels(route)
        requests.inc()
        latency.observe(duration_s)
        self._n_received += len(exchange.body or b"")
        self._n_sent += exchange.n_sent

    def answered(self, release: Release, predictions: Sequence[Prediction]) -> None:
        """Count the estimates of one answer."""
        digest = release.model.release
        estimates = self._by_release.get(digest)
        if estimates is None:
            labels = (digest, release.predictor.contract.target.unit)
            estimates = self._by_release[digest] = _Estimates(
                self._estimates.labels(*labels), self._sum.labels(*labels),
                self._least.labels(*labels), self._greatest.labels(*labels),
            )  # fmt: skip
        estimates.count([prediction["estimate"] for prediction in predictions])
        for prediction in predictions:
            for warning in prediction["warnings"]:
                if _OUTSIDE in warning:
                    self._outside.labels(digest, warning.partition(" ")[0]).inc()

    def rolled_out(self, outcome: str) -> None:
        """Count a release that was to be served next: it was swapped in, or refused."""
        self._rollouts.labels(outcome).inc()

    def at_scrape(self, release: Release | None, traffic: Iterable[Figure] = ()) -> str:
        """Return what is read now, as Prometheus reads it: model, traffic, log, bytes, process."""
        return exposition(chain(traffic, self._read_now(release)))

    def _read_now(self, release: Release | None) -> Iterator[Figure]:
        if release is not None:
            name = release.model
            labels = (("release", name.release), ("name", name.name), ("version", name.version))
            yield Figure("hedonic_model_info", "gauge", "What is served", 1.0, labels)
            if release.record is not None:
                made = datetime.fromisoformat(release.record.created_at).timestamp()
                age_s = max(0.0, time.time() - made)
                told = "Time since the release was made"
                yield Figure("hedonic_model_age_seconds", "gauge", told, age_s, (("release", name.release),))
        for direction, n_bytes in (("received", self._n_received), ("sent", self._n_sent)):
            told = f"Bytes of bodies {direction}"
            yield Figure(
                f"hedonic_http_{direction}_bytes_total", "counter", told, float(n_bytes), self._worker
            )
        of_log = self._log_figures() if self._log_figures else ()
        for figure in chain(of_log, process_figures()):
            yield Figure(figure.name, figure.kind, figure.told, figure.value, (*self._worker, *figure.labels))


class _Estimates:
    """The estimates of one release: their number, sum, least and greatest."""

    def __init__(self, number: Counter, total: Gauge, least: Gauge, greatest: Gauge) -> None:
        self._number, self._total = number, total
        self._least_gauge, self._greatest_gauge = least, greatest
        self._least, self._greatest = math.inf, -math.inf

    def count(self, estimates: Sequence[float]) -> None:
        self._number.inc(len(estimates))
        self._total.inc(sum(estimates))
        if (least := min(estimates)) < self._least:
            self._least = least
            self._least_gauge.set(least)
        if (greatest := max(estimates)) > self._greatest:
            self._greatest = greatest
            self._greatest_gauge.set(greatest)


def _outcome(status: int) -> str:
    if status in _OUTCOMES:
        return _OUTCOMES[status]
    return "ok" if 100 <= status < 400 else "refused" if status < 500 else "error"

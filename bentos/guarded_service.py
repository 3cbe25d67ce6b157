"""A BentoML service behind its gateway: ours comes before every layer of the framework.

``Service.add_asgi_middleware`` puts a middleware inside BentoML's own layers (metrics, tracing, timeout),
which together cost a prediction as much as its features do, and answer in a shape of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bentoml

from hedonic.serving.asgi import App, Exchange

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram

Answered = Callable[[Exchange, float], None]
"""Is told an exchange that was answered before BentoML's layers, with the seconds that it took."""


class GuardedService(bentoml.Service[Any]):  # type: ignore[misc]
    """A service whose application is reached through its gateway alone."""

    def to_asgi(self, is_main: bool = True) -> App:
        """Return the application that a worker serves."""
        app = super().to_asgi(is_main)
        return self.gateway(app, FrameworkMetrics(app).count)

    def gateway(self, app: App, answered: Answered) -> App:
        """Return BentoML's ``app`` behind ours."""
        raise NotImplementedError


class FrameworkMetrics:
    """BentoML's own metrics of a route, told of the answers that were given before its layers."""

    def __init__(self, app: Any) -> None:
        """Take BentoML's application."""
        self._app = app
        self._by_answer: dict[tuple[str, int], tuple[Counter, Histogram, Gauge] | None] = {}

    def count(self, exchange: Exchange, duration_s: float) -> None:
        """Count an answered exchange, as BentoML's layer would have done."""
        key = (exchange.path, exchange.status)
        if key not in self._by_answer:
            self._by_answer[key] = self._metrics(*key)
        metrics = self._by_answer[key]
        if metrics is None:
            return
        total, duration, last = metrics
        total.inc()
        duration.observe(duration_s)
        last.set_to_current_time()

    def _metrics(self, endpoint: str, status: int) -> tuple[Counter, Histogram, Gauge] | None:
        """Return the metrics of a route and a status; None where BentoML's metrics are switched off."""
        from bentoml._internal.context import server_context
        from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

        layer = self._app.middleware_stack
        while layer is not None and not isinstance(layer, RunnerTrafficMetricsMiddleware):
            layer = getattr(layer, "app", None)
        if layer is None:
            return None
        served = {
            "service_name": server_context.bento_name,
            "service_version": server_context.bento_version,
            "runner_name": server_context.service_name,
        }
        answer = {**served, "endpoint": endpoint, "http_response_code": status}
        return (
            layer.metrics_request_total.labels(**answer),
            layer.metrics_request_duration.labels(**answer),
            layer.metrics_last_request_timestamp.labels(**served),
        )

"""The prediction log in numbers, for Prometheus: what to be alerted by."""

from __future__ import annotations

from collections.abc import Iterator

from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.process_figures import Figure
from hedonic.serving.retention import Retention


def log_figures(log: PredictionLog | None, retention: Retention | None) -> Iterator[Figure]:
    """Yield drops, what waits in the buffer, whether the store takes answers, and what was deleted.

    Where nothing is logged there is nothing to tell, and drops are 0.
    """
    dropped = float(log.dropped if log else 0)
    told = "Answers that the prediction log had to drop"
    yield Figure("hedonic_prediction_log_dropped_total", "counter", told, dropped)
    if log is not None:
        told = "Answers taken and not yet in the store"
        yield Figure("hedonic_prediction_log_buffered", "gauge", told, float(log.pending))
        told = "How full the buffer is, from 0 to 1; when it is full answers are dropped"
        yield Figure("hedonic_prediction_log_buffer_fill", "gauge", told, log.fill)
        told = "Whether the store takes answers: 0 while writing fails or hangs"
        yield Figure("hedonic_prediction_log_up", "gauge", told, 0.0 if log.failing else 1.0)
    if retention is not None:
        told = "Predictions deleted because they were past their retention"
        yield Figure("hedonic_prediction_log_purged_total", "counter", told, float(retention.purged))

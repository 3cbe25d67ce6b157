"""The record of an answer, as the prediction log takes it; and answers that nobody waits for."""

from __future__ import annotations

import asyncio
import time

from hedonic.serving.asgi import Exchange
from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.prediction_log_entry import Answered, Role
from hedonic.serving.predictor import Release

# Once a prediction, and nowhere else in our JSON: inside a string its quotes would be escaped.
_ONE_A_ROW = b'"estimate":'


def answer_record(
    exchange: Exchange, body: bytes, release: Release, content: bytes, role: Role = "served"
) -> Answered:
    """Return the record of a release's answer to a request."""
    return Answered(
        request_id=exchange.request_id,
        at_us=time.time_ns() // 1000,
        role=role,
        dataset=release.predictor.contract.name,
        release=release.model.release,
        route=exchange.path,
        n_rows=content.count(_ONE_A_ROW),
        latency_ms=(time.perf_counter() - exchange.started) * 1000,
        request=body,
        response=content,
    )


class AsideLog:
    """Logs answers that were not returned: no caller waits for them, and what is lost is counted alone."""

    def __init__(self, log: PredictionLog | None) -> None:
        """Write to ``log``; None: nowhere."""
        self._log = log

    def record(self, answered: Answered, loop: asyncio.AbstractEventLoop) -> None:
        """Take an answer, from any thread; ``loop`` is that of the service."""
        if self._log is None:
            return
        if self._log.mode == "durable":
            loop.call_soon_threadsafe(self._record, self._log, answered)
        else:
            self._log.record(answered)

    @staticmethod
    def _record(log: PredictionLog, answered: Answered) -> None:
        try:
            waiting = log.record(answered)
        except LogUnavailable:  # the log counts it, and says so
            return
        if waiting is not None:
            waiting.add_done_callback(lambda settled: settled.cancelled() or settled.exception())

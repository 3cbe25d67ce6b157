"""Answering a prediction request: the answer, and its place in the prediction log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hedonic.serving.asgi import Exchange
from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.prediction_log_entry import Answered
from hedonic.serving.predictor import Release
from hedonic.serving.responses import error_body, predict_response

_logger = logging.getLogger("hedonic.serving")

# Once a prediction, and nowhere else in our JSON: inside a string its quotes would be escaped.
_ONE_A_ROW = b'"estimate":'


class Answering:
    """Answers by the release that is served; every good answer is in the log, durably where it is durable."""

    def __init__(self, served: Callable[[], Release], log: PredictionLog | None = None) -> None:
        """Take what gives the release to answer by, and the log; by default there is none."""
        self._served = served
        self._log = log

    async def answer(self, exchange: Exchange, media_type: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer to a prediction request.

        In durable mode it waits for the log's commit, and is a 503 where that cannot be had.
        """
        release, log = self._served(), self._log
        exchange.answered, exchange.release = True, release.model.release
        status, content = predict_response(release, media_type, body, exchange.request_id)
        if status != 200 or log is None:
            return status, content
        answered = Answered(
            request_id=exchange.request_id,
            at_us=time.time_ns() // 1000,
            role="served",
            dataset=release.predictor.contract.name,
            release=release.model.release,
            route=exchange.path,
            n_rows=content.count(_ONE_A_ROW),
            latency_ms=(time.perf_counter() - exchange.started) * 1000,
            request=body,
            response=content,
        )
        try:
            waiting = log.record(answered)
            if waiting is not None:
                await waiting
        except LogUnavailable:
            _logger.exception("request %s: the answer could not be logged", exchange.request_id)
            told = "the answer could not be written down, so it is not given; try again in a moment"
            return 503, error_body("log_unavailable", told, exchange.request_id)
        return status, content

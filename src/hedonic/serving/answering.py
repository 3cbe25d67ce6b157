"""Answering a prediction request: by the champion or a challenger, and its place in the prediction log."""

from __future__ import annotations

import logging
from asyncio import get_running_loop, to_thread
from collections.abc import Callable

from hedonic.serving.answer_record import AsideLog, answer_record
from hedonic.serving.asgi import Exchange
from hedonic.serving.challenge import Challenge, Reply
from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.predictor import Release
from hedonic.serving.responses import error_body, explain_response, joint_predict_response

_logger = logging.getLogger("hedonic.serving")


class Answering:
    """Answers by the release that is served; every good answer is in the log, durably where it is durable.

    While a challenger is tried it may answer instead, or be compared: see ``Challenge``. The answer and
    the log name the release that really answered.
    """

    def __init__(
        self,
        served: Callable[[], Release],
        log: PredictionLog | None = None,
        challenge: Callable[[], Challenge | None] = lambda: None,
    ) -> None:
        """Take what gives the release to answer by, the log, and what gives the challenge.

        By default there is no log and no challenge.
        """
        self._served = served
        self._log = log
        self._challenge = challenge
        self._aside = AsideLog(log)

    async def answer(self, exchange: Exchange, media_type: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer to a prediction request.

        In durable mode it waits for the log's commit, and is a 503 where that cannot be had.
        """
        release, challenge, log = self._served(), self._challenge(), self._log
        exchange.answered = True
        reply = None if challenge is None else challenge.answer(release, exchange, media_type, body)
        if reply is None:
            answer = joint_predict_response(release, media_type, body, exchange.request_id)
            reply = Reply(release, *await answer)
            if challenge is not None:
                challenge.show(release, exchange, media_type, body, reply)
        release, status, content, aside = reply
        exchange.release = release.model.release
        if aside is not None:
            record = answer_record(exchange, body, *aside, role="shadow")
            self._aside.record(record, get_running_loop())
        if status != 200 or log is None:
            return status, content
        try:
            waiting = log.record(answer_record(exchange, body, release, content))
            if waiting is not None:
                await waiting
        except LogUnavailable:
            _logger.exception("request %s: the answer could not be logged", exchange.request_id)
            told = "the answer could not be written down, so it is not given; try again in a moment"
            return 503, error_body("log_unavailable", told, exchange.request_id)
        return status, content

    async def explain(self, exchange: Exchange, media_type: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the explanation, by the release whose estimates this caller gets.

        What a challenger cannot explain is explained by the champion.
        """
        champion, challenge = self._served(), self._challenge()
        release = champion if challenge is None else challenge.explainer(champion, exchange, body)
        request_id = exchange.request_id
        status, content = await to_thread(explain_response, release, media_type, body, request_id)
        if status != 200 and release is not champion:
            release = champion
            status, content = await to_thread(explain_response, release, media_type, body, request_id)
        exchange.answered, exchange.release = True, release.model.release  # not where a limit ended it
        return status, content

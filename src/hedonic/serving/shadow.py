"""A shadow: the challenger answers too, in the background, and nobody gets its answers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import NamedTuple

from hedonic.serving.answer_record import AsideLog, answer_record
from hedonic.serving.asgi import Exchange
from hedonic.serving.challenge import Reply
from hedonic.serving.observed_predictor import unobserved
from hedonic.serving.predictor import Release
from hedonic.serving.responses import predict_response
from hedonic.serving.traffic_draw import Draw, request_key
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_watch import Watch, disagreement

CAPACITY = 256
"""Requests that may wait for the shadow."""
CAPACITY_BYTES = 16 * 2**20
_CLOSE_S = 5.0

_logger = logging.getLogger("hedonic.serving")


class _Asked(NamedTuple):
    exchange: Exchange
    media_type: str
    body: bytes
    answer: bytes
    loop: asyncio.AbstractEventLoop


class Shadow:
    """Shows a share of the answered requests to the challenger, after the caller has the champion's answer.

    One thread answers them in turn; when it falls behind, requests are dropped and counted. Its errors are
    counted and logged, and reach nobody.
    """

    def __init__(self, plan: TrafficPlan, release: Release, log: AsideLog) -> None:
        """Show requests to ``release`` as the plan says; its answers are logged with the role shadow."""
        self.plan = plan
        self.watch = Watch(plan.limits, by_disagreement=False)
        self.n_champion = self.n_challenger = self.n_dropped = 0
        self._release, self._log = unobserved(release), log
        self._draw = Draw(plan.release, plan.share)
        self._asked: deque[_Asked] = deque()
        self._n_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def answer(self, champion: Release, exchange: Exchange, media_type: str, body: bytes) -> None:
        """Return None: the champion answers everything."""

    def show(self, champion: Release, exchange: Exchange, media_type: str, body: bytes, reply: Reply) -> None:
        """Let the challenger answer too, later, if the request's key is drawn."""
        self.n_champion += 1
        if (
            reply.status == 200
            and champion.model.release != self.plan.release
            and self._draw.takes(request_key(exchange, body))
        ):
            loop = asyncio.get_running_loop()
            self._queue(_Asked(exchange, media_type, body, reply.content, loop))

    def explainer(self, champion: Release, exchange: Exchange, body: bytes) -> Release:
        """Return the champion: nobody gets a shadow's answers."""
        return champion

    def close(self) -> None:
        """Answer no more; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)

    def _queue(self, asked: _Asked) -> None:
        size = len(asked.body) + len(asked.answer)
        with self._changed:
            if self._closed or len(self._asked) >= CAPACITY or self._n_bytes + size > CAPACITY_BYTES:
                self.n_dropped += 1
                return
            self._asked.append(asked)
            self._n_bytes += size
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._closed)
                if self._closed:
                    self.n_dropped += len(self._asked)
                    return
                asked = self._asked.popleft()
                self._n_bytes -= len(asked.body) + len(asked.answer)
            try:
                self._answer(asked)
            except Exception:  # the edge of the thread: one request must not end it
                _logger.exception("shadow: request %s", asked.exchange.request_id)
                self.watch.erred()

    def _answer(self, asked: _Asked) -> None:
        request_id = asked.exchange.request_id
        status, content = predict_response(self._release, asked.media_type, asked.body, request_id)
        if status != 200:
            self.watch.erred()
            return
        self.watch.answered(disagreement(asked.answer, content))
        self.n_challenger += 1
        told = answer_record(asked.exchange, asked.body, self._release, content, "shadow")
        self._log.record(told, asked.loop)

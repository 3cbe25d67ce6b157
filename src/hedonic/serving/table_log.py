"""The rows of a table in the prediction log: in parts, so that nothing in it grows with the table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hedonic.serving.asgi import Exchange
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_entry import Answered
from hedonic.serving.predictor import Prediction, Release
from hedonic.serving.table_form import json_form
from hedonic.serving.table_parts import PART_ROWS, part_id
from hedonic.serving.table_rows import request_body

_BATCH_BYTES = 8 * 2**20  # an eighth of what the log's buffer holds
_PATIENCE_S = 2.0
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class LoggedPart:
    """Rows of a table and what was answered: up to ``PART_ROWS`` of them, from a multiple of that on."""

    first: int
    n_rows: int
    request: bytes
    response: bytes


class TableRecord:
    """What is to be logged of a table, kept until all of it is answered: a refused table is not logged."""

    def __init__(self, log: PredictionLog, exchange: Exchange, release: Release) -> None:
        """Hold nothing yet."""
        self._log, self._exchange, self._release = log, exchange, release
        self._rows: list[str] = []
        self._predictions: list[Prediction] = []
        self._parts: list[LoggedPart] = []
        self._first = 0

    def add(self, rows: Sequence[str], predictions: Sequence[Prediction]) -> None:
        """Take rows and their answers."""
        self._rows += rows
        self._predictions += predictions
        while len(self._rows) >= PART_ROWS:
            self._close_part()

    async def write(self) -> None:
        """Hand all parts to the log; in mode ``durable`` they are written when this returns.

        In mode ``fast`` it waits for the writer, two seconds in all at most, so that a large table does
        not push other answers out of the buffer.

        Raises:
            LogUnavailable: mode ``durable``, and they cannot be written; some may be.
        """
        if self._rows:
            self._close_part()
        until, n_bytes = time.monotonic() + _PATIENCE_S, 0
        waiting: list[asyncio.Future[None]] = []
        self._parts.reverse()
        while self._parts:
            answered = self._answered(self._parts.pop())
            if (waiter := self._log.record(answered)) is not None:
                waiting.append(waiter)
            n_bytes += len(answered.request) + len(answered.response)
            if n_bytes >= _BATCH_BYTES:
                await self._settled(waiting, until)
                n_bytes, waiting = 0, []
        await asyncio.gather(*waiting)

    async def _settled(self, waiting: Sequence[asyncio.Future[None]], until: float) -> None:
        await asyncio.gather(*waiting)
        wanted = self._log.recorded
        while self._log.recorded - self._log.pending < wanted and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)

    def _close_part(self) -> None:
        rows, predictions = self._rows[:PART_ROWS], self._predictions[:PART_ROWS]
        del self._rows[:PART_ROWS], self._predictions[:PART_ROWS]
        form = json_form(self._release, part_id(self._exchange.request_id, self._first))
        response = form.head + form.rows(predictions) + form.tail
        self._parts.append(LoggedPart(self._first, len(rows), request_body(rows), response))
        self._first += len(rows)

    def _answered(self, part: LoggedPart) -> Answered:
        return Answered(
            request_id=part_id(self._exchange.request_id, part.first),
            at_us=time.time_ns() // 1000,
            role="served",
            dataset=self._release.predictor.contract.name,
            release=self._release.model.release,
            route=self._exchange.path,
            n_rows=part.n_rows,
            latency_ms=(time.perf_counter() - self._exchange.started) * 1000,
            request=part.request,
            response=part.response,
        )

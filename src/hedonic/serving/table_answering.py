"""Answering a table: many rows as requests of few, one after the other, so that nobody else waits for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from hedonic.serving.asgi import Exchange
from hedonic.serving.prediction_log import LogUnavailable, PredictionLog
from hedonic.serving.predictor import Prediction, Release
from hedonic.serving.problems import ProblemList, RequestRefused
from hedonic.serving.responses import JSON_TYPE, STATUS, error_body, internal_error
from hedonic.serving.table_form import answer_form, read_rows
from hedonic.serving.table_log import TableRecord
from hedonic.serving.table_rows import TableRow, ask_about, chunks

CHUNK_ROWS = 50
"""Rows that are answered at a time: one or two milliseconds."""

_TURNS = 4
"""Turns of the event loop between two chunks: as many as a request for one row needs to be answered."""

_SENT_BYTES = 65_536

_logger = logging.getLogger("hedonic.serving")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was sent, and how its answer is wanted."""

    exchange: Exchange
    media_type: str
    accept: str
    body: bytes


@dataclass(frozen=True, slots=True)
class TableAnswer:
    """The answer to a table: its body in parts, for it may be long."""

    status: int
    media_type: str
    parts: tuple[bytes, ...]

    @property
    def n_bytes(self) -> int:
        """Return the length of the body."""
        return sum(map(len, self.parts))


class TableAnswering:
    """Answers tables as ``/predict`` answers their rows, bit for bit; by one release from first to last."""

    def __init__(self, log: PredictionLog | None = None) -> None:
        """Take the log of answers; by default there is none."""
        self._log = log

    async def answer(self, table: Table, release: Release, limit_s: float | None = None) -> TableAnswer:
        """Return the answer; a problem anywhere refuses the whole table, with every problem of it.

        In durable mode it waits for the log's commits, and is a 503 where they cannot be had.

        Args:
            table: its rows, and how it came.
            release: answers all of them.
            limit_s: after this long the answer is a 503; default: never.
        """
        exchange = table.exchange
        exchange.release = release.model.release
        answer = await self._answer_or_say_why(table, release, limit_s)
        exchange.answered = True
        return answer

    async def _answer_or_say_why(self, table: Table, release: Release, limit_s: float | None) -> TableAnswer:
        exchange = table.exchange
        try:
            async with asyncio.timeout(limit_s):
                return await self._answer(table, release)
        except TimeoutError:
            told = (
                f"the table was not answered within {limit_s:g} s; send fewer rows at a time, or all of them "
                "as a long job: POST /score/submit"
            )
            return _error(503, error_body("overloaded", told, exchange.request_id))
        except RequestRefused as err:
            status = STATUS.get(err.code, 400)
            return _error(status, error_body(err.code, str(err), exchange.request_id, err.problems))
        except LogUnavailable:
            _logger.exception("request %s: the answer could not be logged", exchange.request_id)
            told = "the answer could not be written down, so it is not given; try again in a moment"
            return _error(503, error_body("log_unavailable", told, exchange.request_id))
        except Exception:  # the edge of the process: nothing of ours reaches a caller but the id
            _logger.exception("request %s failed", exchange.request_id)
            return _error(500, internal_error(exchange.request_id))

    async def _answer(self, table: Table, release: Release) -> TableAnswer:
        predictor, exchange = release.predictor, table.exchange
        form = answer_form(release, exchange.request_id, table.media_type, table.accept)
        record = TableRecord(self._log, exchange, release) if self._log is not None else None
        problems, parts, n_rows = ProblemList(), [form.head], 0
        rows = read_rows(predictor.contract, table.media_type, table.body)
        for chunk in chunks(rows, min(CHUNK_ROWS, predictor.schema.max_rows)):
            predictions = _ask(release, chunk, n_rows, problems)
            if predictions:
                parts += [form.between, form.rows(predictions)] if n_rows else [form.rows(predictions)]
                if record is not None:
                    record.add([row for row in chunk if isinstance(row, str)], predictions)
            n_rows += len(chunk)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        if problems:
            raise problems.refusal()
        if record is not None:
            await record.write()
        return TableAnswer(200, form.media_type, _joined([*parts, form.tail]))


def _ask(release: Release, chunk: list[TableRow], first: int, problems: ProblemList) -> list[Prediction]:
    """Return the answers to a chunk; after the first problem of a table its rows are checked alone."""
    predictor = release.predictor

    def check(body: bytes) -> list[Prediction]:
        predictor.schema.read(body)
        return []

    try:
        return ask_about(chunk, first, check if problems else predictor.answer)
    except RequestRefused as err:
        if not err.listed:  # it cannot be read on
            raise
        problems.add(err)
        return []


def _joined(parts: list[bytes]) -> tuple[bytes, ...]:
    """Return the same bytes in fewer parts."""
    joined, waiting, n_bytes = [], [], 0
    for part in parts:
        waiting.append(part)
        n_bytes += len(part)
        if n_bytes >= _SENT_BYTES:
            joined.append(b"".join(waiting))
            waiting, n_bytes = [], 0
    return (*joined, b"".join(waiting))


def _error(status: int, body: bytes) -> TableAnswer:
    return TableAnswer(status, JSON_TYPE, (body,))

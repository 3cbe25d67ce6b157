"""Logged answers: found by their request's id, and computed again from their logged inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError
from hedonic.serving.erasure import of_request
from hedonic.serving.prediction_log_entry import Answered, Role, moment
from hedonic.serving.prediction_log_store import COLUMNS, PredictionLogStore
from hedonic.serving.predictor import Predictor

SHOWN_ROWS = 100
"""Rows of an answer that are told one by one; all are computed again."""


class TracedRow(Frozen):
    """One row of an answer.

    Attributes:
        row: its number in the request; in a table's, in the whole table.
        inputs, answer: as logged.
        again: what the release answers now; None where it does not.
        equal: whether the two are the same, bit for bit.
    """

    row: int
    inputs: dict[str, Any]
    answer: dict[str, Any]
    again: dict[str, Any] | None
    equal: bool


class TracedAnswer(Frozen):
    """An answer, and whether the release that gave it gives it still.

    Attributes:
        role: ``served`` to the caller, or ``shadow``, written down beside the answer that was.
        n_rows: rows that are logged; those that were forgotten are not counted.
        n_equal: rows that the release answers as it did; None where it cannot be asked.
        problem: why it cannot be asked, or what it said.
        rows: the first hundred, and of the others a hundred that differ.
    """

    request_id: str
    at: datetime
    role: Role
    route: str
    latency_ms: float
    dataset: str
    release: str
    n_rows: int
    n_equal: int | None
    problem: str | None = None
    rows: tuple[TracedRow, ...]

    @property
    def equal(self) -> bool:
        """Return whether every logged row was answered again, and in the same bits."""
        return self.n_equal == self.n_rows


def find_answers(store: PredictionLogStore, request_id: str) -> tuple[Answered, ...]:
    """Return every answer to a request, the served ones first; of a table's, all parts in their order."""
    of_it, values = of_request(request_id)
    found = store.read(
        f"SELECT {COLUMNS} FROM hedonic_answered WHERE {of_it} ORDER BY role, seq",  # noqa: S608
        values,
    )
    return tuple(Answered(*row) for row in found)


def trace_answers(
    asked: str, parts: Sequence[Answered], predictor: Predictor | None, problem: str | None
) -> TracedAnswer:
    """Return the answer that these parts are, computed again.

    Args:
        asked: the request's id; a part of a table has its first row's number behind it.
        parts: of one role, one release and one request.
        predictor: of the release that answered; None where it cannot be asked.
        problem: why not.
    """
    first, n_rows, n_equal, shown = parts[0], 0, 0, list[TracedRow]()
    for part in parts:
        try:
            for row in _rows(asked, part, predictor):
                n_rows += 1
                n_equal += row.equal
                if len(shown) < SHOWN_ROWS or (predictor and not row.equal and len(shown) < 2 * SHOWN_ROWS):
                    shown.append(row)
        except HedonicError as err:
            problem = f"the release does not answer: {err}"
            n_rows += part.n_rows
    return TracedAnswer(
        request_id=asked,
        at=moment(first.at_us),
        role=first.role,
        route=first.route,
        latency_ms=first.latency_ms,
        dataset=first.dataset,
        release=first.release,
        n_rows=n_rows,
        n_equal=n_equal if predictor is not None else None,
        problem=problem,
        rows=tuple(shown),
    )


def _rows(asked: str, part: Answered, predictor: Predictor | None) -> Iterator[TracedRow]:
    """Yield the rows of a part that were not forgotten since, each answered again.

    Raises:
        HedonicError: what is logged is not a request with its answer, or is not answered now.
    """
    start = int(part.request_id.removeprefix(f"{asked}.")) if part.request_id != asked else 0
    try:
        instances = json.loads(part.request)["instances"]
        answers = json.loads(part.response)["predictions"]
        kept = [n for n, (inputs, _) in enumerate(zip(instances, answers, strict=True)) if inputs is not None]
    except (ValueError, KeyError, TypeError) as err:
        raise HedonicError(f"request {part.request_id}: what is logged is no answer: {err!r}") from err
    again = predictor.predict([instances[n] for n in kept]) if predictor is not None else [None] * len(kept)
    for n, answer in zip(kept, again, strict=True):
        yield TracedRow(
            row=start + n,
            inputs=instances[n],
            answer=answers[n],
            again=answer,
            equal=answer is not None and answer == answers[n],
        )

"""Scoring a table: every row answered as the endpoint would answer it, or the table refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hedonic.data.contract import Frozen
from hedonic.errors import UserError
from hedonic.scoring.reading import InputTable, Values, read_table
from hedonic.scoring.writing import Write, write_table
from hedonic.serving.predictor import Prediction, Predictor
from hedonic.serving.problems import Problem, ProblemList, RequestRefused
from hedonic.serving.table_form import RESULT_COLUMNS, result_values
from hedonic.serving.table_rows import TableRow, ask_about

PROBLEMS = "problems"
SHOWN_PROBLEMS = 20
_CHUNK_ROWS = 100
_TELL_ROWS = 50_000

Row = tuple[TableRow, Values]


class Scoring(Frozen):
    """What the scoring of a table came to; the estimates are in the unit of the target.

    Attributes:
        n_refused: rows that break the contract, which were kept without an estimate.
    """

    dataset: str
    release: str
    source: str
    target: str
    unit: str
    n_rows: int
    n_refused: int
    estimate_min: float | None
    estimate_mean: float | None
    estimate_max: float | None


@dataclass(slots=True)
class _Tally:
    """Running figures of the estimates."""

    n_rows: int = 0
    n_refused: int = 0
    total: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf
    problems: ProblemList = field(default_factory=ProblemList)

    def add(self, estimate: float) -> None:
        self.total += estimate
        self.least, self.greatest = min(self.least, estimate), max(self.greatest, estimate)


def score_table(
    predictor: Predictor,
    release: str,
    source: str,
    target: str,
    *,
    keep_refused: bool = False,
    on_rows: Callable[[int, int | None], None] = lambda _n_rows, _of: None,
) -> Scoring:
    """Return what became of the table at ``source``, whose rows with their estimates are at ``target`` now.

    Rows are read, answered and written a hundred at a time, so memory does not grow with the table.

    Args:
        predictor: of the release that answers.
        release: its digest.
        source: URI of a table, CSV, Parquet or JSON lines by its suffix.
        target: URI of the table to be written, in the format that its suffix names.
        keep_refused: whether a row that breaks the contract is written without an estimate and with its
            problems in a column; by default such a row refuses the table, and nothing is written.
        on_rows: is told now and then how many rows are done, and of how many if that is known.

    Raises:
        UserError: the table cannot be read or written, or its rows break the contract: the first problems
            are shown, all are counted.
    """
    if source == target:
        raise UserError(f"{target}: the table to be read; name another one to be written")
    tally = _Tally()
    with read_table(predictor.contract, source) as table:
        names, types = _columns(table, target, keep_refused=keep_refused)
        with write_table(target, names, types) as write:
            size = min(_CHUNK_ROWS, predictor.schema.max_rows)
            while rows := list(islice(table.rows, size)):
                if keep_refused:
                    _score_each(predictor, rows, write, tally)
                else:
                    _score_all(predictor, rows, write, tally)
                tally.n_rows += len(rows)
                if tally.n_rows % _TELL_ROWS < size:
                    on_rows(tally.n_rows, table.n_rows)
            if tally.problems:
                raise UserError(_told(source, tally))
    n_scored = tally.n_rows - tally.n_refused
    return Scoring(
        dataset=predictor.contract.name,
        release=release,
        source=source,
        target=target,
        unit=predictor.contract.target.unit,
        n_rows=tally.n_rows,
        n_refused=tally.n_refused,
        estimate_min=tally.least if n_scored else None,
        estimate_mean=tally.total / n_scored if n_scored else None,
        estimate_max=tally.greatest if n_scored else None,
    )


def _columns(table: InputTable, target: str, *, keep_refused: bool) -> tuple[list[str], dict[str, Any]]:
    import pyarrow as pa

    added = [*RESULT_COLUMNS, *([PROBLEMS] if keep_refused else [])]
    if taken := [name for name in added if name in table.names]:
        raise UserError(f"{target}: the table has the columns {', '.join(taken)} already; rename them")
    numbers = {name: pa.float64() for name in RESULT_COLUMNS[:5]}
    return [*table.names, *added], {**table.types, **numbers}


def _score_all(predictor: Predictor, rows: Sequence[Row], write: Write, tally: _Tally) -> None:
    """Write the rows with their estimates; after the first problem of a table rows are checked alone."""

    def check(body: bytes) -> list[Prediction]:
        predictor.schema.read(body)
        return []

    ask = check if tally.problems else predictor.answer
    try:
        predictions = ask_about([row for row, _ in rows], tally.n_rows, ask)
    except RequestRefused as err:
        if not err.listed:
            raise
        tally.problems.add(err)
        return
    for (_, values), prediction in zip(rows, predictions, strict=bool(predictions)):
        tally.add(prediction["estimate"])
        write([*values, *result_values(prediction)])


def _score_each(predictor: Predictor, rows: Sequence[Row], write: Write, tally: _Tally) -> None:
    """Write the rows with their estimates, or with their problems."""
    try:
        predictions: list[Prediction | RequestRefused] = [
            *ask_about([row for row, _ in rows], tally.n_rows, predictor.answer)
        ]
    except RequestRefused:
        predictions = [_answer_one(predictor, row) for row, _ in rows]
    for (_, values), prediction in zip(rows, predictions, strict=True):
        if isinstance(prediction, RequestRefused):
            tally.n_refused += 1
            write([*values, *[None] * len(RESULT_COLUMNS), _problems_of(prediction)])
        else:
            tally.add(prediction["estimate"])
            write([*values, *result_values(prediction), None])


def _answer_one(predictor: Predictor, row: TableRow) -> Prediction | RequestRefused:
    try:
        return ask_about([row], 0, predictor.answer)[0]
    except RequestRefused as err:
        return err


def _problems_of(refusal: RequestRefused) -> str:
    told = [
        f"{problem.path.partition('.')[2]}: {problem.message}".removeprefix(": ")
        for problem in refusal.problems
    ]
    return "; ".join(told) or str(refusal)


def _told(source: str, tally: _Tally) -> str:
    n_problems = len(tally.problems)
    shown = [_shown(problem) for problem in tally.problems.refusal().listed[:SHOWN_PROBLEMS]]
    more = [f"and {n_problems - len(shown)} more"] if n_problems > len(shown) else []
    lines = "\n  ".join([*shown, *more])
    counted = "1 problem" if n_problems == 1 else f"{n_problems} problems"
    return (
        f"{source}: {counted} in {tally.n_rows} rows, counted from 0; nothing was written. "
        f"Mend the rows, or keep them without an estimate: --keep-refused.\n  {lines}"
    )


def _shown(problem: Problem) -> str:
    row, _, name = problem.path.removeprefix("instances[").partition("]")
    return f"row {row}{name.replace('.', ', ', 1)}: {problem.message}"

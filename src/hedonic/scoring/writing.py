"""Writing a table's file row by row, in a bounded memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import IO, TYPE_CHECKING, Any

from hedonic.scoring.file import format_of, written_whole

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 16_384

Write = Callable[[Sequence[Any]], None]
"""Writes one row, its values in the order of the columns."""


@contextmanager
def write_table(uri: str, names: Sequence[str], types: Mapping[str, pa.DataType]) -> Iterator[Write]:
    """Yield what writes a row of the table at a URI, which is there when all are written, and else not.

    Args:
        uri: its suffix names the format.
        names: of the columns.
        types: their Arrow types; text where none is given.

    Raises:
        UserError: it cannot be written.
    """
    kind = format_of(uri)
    with written_whole(uri, text=kind != "parquet") as file:
        match kind:
            case "csv":
                yield _csv(file, names)
            case "jsonl":
                yield _json_lines(file, names)
            case "parquet":
                with _parquet(file, names, types) as write:
                    yield write


def _csv(file: IO[str], names: Sequence[str]) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)

    def write(values: Sequence[Any]) -> None:
        writer.writerow([as_text(value) for value in values])

    return write


def _json_lines(file: IO[str], names: Sequence[str]) -> Write:
    def write(values: Sequence[Any]) -> None:
        row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        file.write(json.dumps(row, default=as_text, allow_nan=False) + "\n")

    return write


@contextmanager
def _parquet(file: IO[bytes], names: Sequence[str], types: Mapping[str, pa.DataType]) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    waiting: list[Sequence[Any]] = []

    def flush() -> None:
        columns = zip(*waiting, strict=True)
        arrays = [
            pa.array(
                values if name in types else [as_text(value) or None for value in values],
                schema.field(name).type,
            )
            for name, values in zip(names, columns, strict=True)
        ]
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        waiting.clear()

    def write(values: Sequence[Any]) -> None:
        waiting.append(values)
        if len(waiting) == _GROUP_ROWS:
            flush()

    with pq.ParquetWriter(file, schema) as writer:
        yield write
        if waiting:
            flush()


def as_text(value: Any) -> str:
    """Return a value as text: empty where it is missing, a number in the fewest digits that give it back."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)

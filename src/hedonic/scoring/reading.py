"""Reading a table's file row by row: what is asked about each row, and what is carried along with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from hedonic.data.contract import Contract
from hedonic.errors import UserError
from hedonic.scoring.file import format_of, opened
from hedonic.serving.csv_rows import CsvRows, input_names
from hedonic.serving.problems import RequestRefused
from hedonic.serving.table_rows import TableRow, Unreadable
from hedonic.serving.unique_json import parse

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096
_TEXTS = ("category", "text")

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class InputTable:
    """A table that is being read.

    Attributes:
        names: of its columns.
        types: their Arrow types, where it has any; all others are text.
        rows: each as the JSON text of an instance, with its values in the order of ``names``.
        n_rows: how many there are, where the file says so before it is read.
    """

    names: tuple[str, ...]
    types: Mapping[str, pa.DataType]
    rows: Iterator[tuple[TableRow, Values]]
    n_rows: int | None = None


@contextmanager
def read_table(contract: Contract, uri: str) -> Iterator[InputTable]:
    """Yield the table at a URI: CSV, Parquet or JSON lines.

    Columns that the contract knows and that are no inputs (id, date of sale, price) are carried along and
    not looked at; a column that it does not know is refused, for it may be an input that is misspelt.

    Raises:
        UserError: it cannot be read, or its columns do not fit the contract.
    """
    kind = format_of(uri)
    readers: dict[str, Callable[[Contract, str, Any], InputTable]] = {
        "csv": _csv, "parquet": _parquet, "jsonl": _json_lines,
    }  # fmt: skip
    with opened(uri, text=kind != "parquet") as file:
        try:
            yield readers[kind](contract, uri, file)
        except RequestRefused as err:
            told = "; ".join(f"{problem.path}: {problem.message}" for problem in err.problems)
            raise UserError(f"{uri}: {told or err}") from err


def carried_names(contract: Contract) -> frozenset[str]:
    """Return the columns that may be in a table beside the inputs."""
    return frozenset(column.name for column in contract.columns) - frozenset(input_names(contract))


def _csv(contract: Contract, _uri: str, file: Any) -> InputTable:
    reader = CsvRows(contract, file, passed=carried_names(contract))
    rows = iter(reader)
    first = next(rows)
    n_columns = len(reader.names)

    def read() -> Iterator[tuple[TableRow, Values]]:
        row: TableRow | None = first
        while row is not None:
            values = [*reader.values[:n_columns], *[""] * (n_columns - len(reader.values))]
            yield row, values
            row = next(rows, None)

    return InputTable(reader.names, {}, read())


def _parquet(contract: Contract, uri: str, file: Any) -> InputTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file)
    except pa.ArrowInvalid as err:
        raise UserError(f"{uri}: not a complete Parquet file ({str(err).splitlines()[0]})") from err
    names = tuple(source.schema_arrow.names)
    _check_columns(contract, uri, names)
    types = {field.name: _plain_type(field.type) for field in source.schema_arrow}
    kinds = {column.name: column.type for column in contract.inputs}
    places = [(names.index(name), name, kinds.get(name)) for name in input_names(contract) if name in names]

    def read() -> Iterator[tuple[TableRow, Values]]:
        for batch in source.iter_batches(_BATCH_ROWS):
            columns = [batch.column(n).cast(types[name], safe=False) for n, name in enumerate(names)]
            for values in zip(*[column.to_pylist() for column in columns], strict=True):
                found = {name: _json_value(values[place], kind) for place, name, kind in places}
                yield json.dumps(found), values

    return InputTable(names, types, read(), source.metadata.num_rows)


def _json_lines(contract: Contract, uri: str, file: Any) -> InputTable:
    carried = carried_names(contract)
    known = tuple(column.name for column in contract.columns)
    names = tuple(dict.fromkeys((*known, *input_names(contract))))

    def read() -> Iterator[tuple[TableRow, Values]]:
        n_rows = 0
        for line in file:
            if not line.strip():
                continue
            n_rows += 1
            try:
                found = parse(line.encode())
            except (RequestRefused, ValueError, RecursionError) as err:
                yield Unreadable(f"is not a line of JSON: {err}"), [None] * len(names)
                continue
            if type(found) is not dict:
                yield json.dumps(found), [None] * len(names)
                continue
            asked = {name: value for name, value in found.items() if name not in carried}
            yield json.dumps(asked), [found.get(name) for name in names]
        if n_rows == 0:
            raise UserError(f"{uri}: the table is empty")

    return InputTable(names, {}, read())


def _check_columns(contract: Contract, uri: str, names: Sequence[str]) -> None:
    """Refuse a table whose columns a CSV table could not have either."""
    header = CsvRows(contract, [",".join(f'"{name}"' for name in names)], passed=carried_names(contract))
    try:
        next(iter(header))
    except RequestRefused as err:
        if err.listed:
            raise
    if len(names) == 0:
        raise UserError(f"{uri}: the table has no columns")


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is carried: Python has no nanoseconds, and needs no dictionary."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return kind


def _json_value(value: Any, kind: str | None) -> Any:
    """Return a typed value as JSON says it.

    As when the model was made: NaN is missing, a category may be kept as a number, and 1 and 0 may stand
    for true and false. All else must be of the contract's type, as over HTTP.
    """
    match value:
        case bool() | None:
            return value
        case float() if value != value:
            return None
        case int() if kind in _TEXTS:
            return str(value)
        case int() | float() if kind == "boolean" and value in (0, 1):
            return bool(value)
        case int() | float() | str():
            return value
        case datetime():
            return (value.date() if value.time() == time() else value).isoformat()
        case date():
            return value.isoformat()
        case _:
            return str(value)

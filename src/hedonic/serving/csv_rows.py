"""The rows of a CSV table: texts by the contract's types, strictly, as JSON says the same.

A value is taken as it stands, blanks included. Empty is missing. A number is written as JSON writes it
(``3``, ``1350.5``, ``1e-5``; not ``+3``, ``007``, ``1,000`` or ``NaN``), a boolean is ``true`` or ``false``
in any case and neither 1 nor 0, a date is ``2015-05-27``. What is not of its type goes on as a text, so that
the request schema refuses it in the words, and by the row and field, that it has for JSON.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from hedonic.data.contract import Contract
from hedonic.serving.fields import BooleanField, Field, NumberField, field_of
from hedonic.serving.problems import Problem, RequestRefused, refused
from hedonic.serving.schema import VALUATION_DATE
from hedonic.serving.table_rows import TableRow, Unreadable

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,308})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = ("true", "false")

Writer = Callable[[str], str]


def decoded_csv(body: bytes) -> str:
    """Return the text of a table in UTF-8, with a byte order mark or without.

    Raises:
        RequestRefused: it is not UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        told = f"the table is not UTF-8: byte {err.start} is {body[err.start]:#04x}"
        raise RequestRefused("invalid_csv", told) from err


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text with their ends, without a second copy of it."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def input_names(contract: Contract) -> tuple[str, ...]:
    """Return the columns of a table without a header row: the contract's inputs in its order.

    A data set with time may have one more, the last: ``valuation_date``.
    """
    names = tuple(column.name for column in contract.inputs)
    return (*names, VALUATION_DATE) if contract.time_column is not None else names


class CsvRows:
    """The rows of a CSV table (RFC 4180), each as the JSON text of an instance.

    Attributes:
        names: of the columns, known once the first row is read.
        values: of the row that was read last, as they stood there.
    """

    def __init__(
        self, contract: Contract, lines: Iterable[str], *, header: bool = True, passed: Collection[str] = ()
    ) -> None:
        """Read the table that ``lines`` are, the first row of which is its header.

        Args:
            contract: names the fields and their types.
            lines: with their ends.
            header: whether the first row names the columns; else they are ``input_names``.
            passed: columns that may be there and are no fields of a request.
        """
        self.names: tuple[str, ...] = ()
        self.values: Sequence[str] = ()
        self._contract, self._header, self._passed = contract, header, passed
        self._reader = csv.reader(lines, strict=True)

    def __iter__(self) -> Iterator[TableRow]:
        """Yield the rows.

        Raises:
            RequestRefused: the header does not fit the contract, or the text is not CSV.
        """
        rows = self._rows()
        first = next(rows, None)
        if first is None:
            raise RequestRefused("invalid_csv", "the table is empty")
        self._name_columns(first)
        columns = self._columns()
        n_rows = 0
        if not self._header:
            n_rows += 1
            yield self._row(columns, first)
        for values in rows:
            n_rows += 1
            yield self._row(columns, values)
        if n_rows == 0:
            raise RequestRefused("invalid_csv", "the table has a header and no row")

    def _rows(self) -> Iterator[list[str]]:
        try:
            yield from (row for row in self._reader if row)  # a line without anything is no row
        except csv.Error as err:
            raise RequestRefused("invalid_csv", f"line {self._reader.line_num} is not CSV: {err}") from err

    def _name_columns(self, first: Sequence[str]) -> None:
        if self._header:
            self.names = tuple(first)
            if problems := self._header_problems():
                raise refused(problems)
            return
        known = input_names(self._contract)
        least = len(self._contract.inputs)
        if not least <= len(first) <= len(known):
            told = f"must have the columns {', '.join(known)} (header=absent); got {len(first)} values"
            raise refused([Problem("instances[0]", told)])
        self.names = known[: len(first)]

    def _header_problems(self) -> list[Problem]:
        known, names = input_names(self._contract), self.names
        problems = [
            Problem(name, "a column of this name is there twice")
            for name in dict.fromkeys(name for name in names if names.count(name) > 1)
        ]
        for name in names:
            if name in known or name in self._passed:
                continue
            near = difflib.get_close_matches(name, set(known) - set(names), n=1) if len(name) <= 64 else []
            hint = f"; did you mean {near[0]!r}?" if near else "; see the schema at /docs.json"
            problems.append(Problem(name[:64], f"unknown column{hint}"))
        needed = [column.name for column in self._contract.inputs if not column.nullable]
        return problems + [Problem(name, "the column is missing") for name in needed if name not in names]

    def _columns(self) -> list[tuple[str, Writer] | None]:
        fields: dict[str, Field] = {column.name: field_of(column) for column in self._contract.inputs}
        known = set(input_names(self._contract))
        return [
            (f"{json.dumps(name)}:", _writer(fields.get(name))) if name in known else None
            for name in self.names
        ]

    def _row(self, columns: Sequence[tuple[str, Writer] | None], values: Sequence[str]) -> TableRow:
        self.values = values
        if len(values) != len(columns):
            return Unreadable(f"has {len(values)} values; the table has {len(columns)} columns")
        pairs = zip(columns, values, strict=True)
        return (
            f"{{{','.join([column[0] + column[1](value) for column, value in pairs if column and value])}}}"
        )


def _writer(field: Field | None) -> Writer:
    """Return what writes a value of the field as JSON."""
    if isinstance(field, NumberField):
        return _number
    return _boolean if isinstance(field, BooleanField) else json.dumps


def _number(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else json.dumps(text)


def _boolean(text: str) -> str:
    lower = text.lower()
    return lower if lower in _BOOLEANS else json.dumps(text)

"""The fields of a request side by side: rows in which nothing is wrong, read all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from hedonic.serving.fields import NAN, BooleanField, Field, NumberField

Column = Sequence[Any]

_EXACT = 2.0**53 - 1
"""Up to here an integer and its float are the same number, so that comparing floats is exact."""


class FieldTable:
    """Fields, read for many rows by few calls.

    ``read`` gives what ``Field.read`` gives value by value, or nothing: where a value may be wrong, the
    rows are left to be read value by value, so that every problem is named.
    """

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, float]) -> None:
        """Take the fields by name, and what stands for a missing number where that is not NaN."""
        required = {name: field for name, field in fields.items() if field.required}
        numbers = {name: field for name, field in required.items() if isinstance(field, NumberField)}
        self._required = tuple(required)
        self._optional = tuple(name for name in fields if name not in required)
        self._pick = _picker(self._required)
        self._integers = [name for name, field in numbers.items() if field.integer]
        self._numbers = [name for name, field in numbers.items() if not field.integer]
        self._booleans = [name for name, field in required.items() if isinstance(field, BooleanField)]
        self._texts = [(n, f) for n, f in required.items() if not isinstance(f, NumberField | BooleanField)]
        self._absent = [
            (name, fields[name], defaults.get(name, NAN) if fields[name].numeric else None)
            for name in self._optional
        ]
        self._bounded = list(numbers)
        limits = [
            (
                -_EXACT if field.minimum is None else max(field.minimum, -_EXACT),
                _EXACT if field.maximum is None else min(field.maximum, _EXACT),
            )
            for field in numbers.values()
        ]
        self._low, self._high = np.array(limits).reshape(-1, 2, 1).swapaxes(0, 1)

    def read(self, instances: Sequence[Any]) -> dict[str, Column] | None:
        """Return the rows' canonical values by field; None where a value may be wrong."""
        if set(map(type, instances)) != {dict}:
            return None
        try:
            columns: dict[str, Column] = dict(
                zip(self._required, zip(*map(self._pick, instances), strict=True), strict=True)
            )
            n_unknown = sum(map(len, instances)) - len(instances) * len(self._required)
            for name, field, absent in self._absent:
                values = [row.get(name) for row in instances]
                n_unknown -= sum(name in row for row in instances) if n_unknown else 0
                columns[name] = [absent if value is None else field.read(value) for value in values]
            for name, field in self._texts:
                columns[name] = [field.read(value) for value in columns[name]]
        except (KeyError, ValueError):
            return None
        return columns if n_unknown == 0 and self._are_sound(columns) else None

    def _are_sound(self, columns: Mapping[str, Column]) -> bool:
        """Return whether the required numbers and booleans are of their types and within bounds."""
        if not self._kinds(self._booleans, columns) <= {bool}:
            return False
        if not self._kinds(self._numbers, columns) <= {int, float}:
            return False
        kinds = self._kinds(self._integers, columns)
        if not kinds <= {int} and not (
            kinds <= {int, float} and all(map(_is_whole, self._all(self._integers, columns)))
        ):
            return False
        try:
            bounded = np.array([columns[name] for name in self._bounded], dtype=np.float64)
        except OverflowError:
            return False
        within = (bounded >= self._low) & (bounded <= self._high)  # a NaN is within nothing
        return bool(within.all())

    @staticmethod
    def _all(names: list[str], columns: Mapping[str, Column]) -> chain[Any]:
        return chain.from_iterable([columns[name] for name in names])

    def _kinds(self, names: list[str], columns: Mapping[str, Column]) -> set[type]:
        return set(map(type, self._all(names, columns)))


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return what takes these values out of a row."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)


def _is_whole(value: float) -> bool:
    return type(value) is int or value.is_integer()

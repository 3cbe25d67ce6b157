"""One field of a request: a JSON value in, a canonical value or the problem with it out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from hedonic.data.contract import Column
from hedonic.data.table import days

MISSING: Any = object()
NAN = math.nan
_LARGEST_EXACT = 2.0**53
_LARGEST = 1.7976931348623157e308
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class NumberField:
    """A number, or an integer, between bounds.

    JSON has one number type: 3.0 is the integer 3 (JSON Schema, section 6.3.1 of 2020-12) and nothing
    is lost in taking it, so an integer field takes it; 3.5, "3" and true it does not take.
    """

    name: str
    required: bool
    integer: bool
    minimum: float | None
    maximum: float | None
    numeric: bool = field(default=True, init=False)

    def read(self, value: Any) -> float:
        """Return the number as a float."""
        kind = type(value)
        if kind is not int and kind is not float:
            raise ValueError(f"must be {self._kind}; got {show(value)}")
        limit = _LARGEST_EXACT if self.integer else _LARGEST
        if not -limit <= value <= limit:
            raise ValueError(f"must be a finite number up to {limit:g}; got {show(value)}")
        if self.integer and kind is float and not value.is_integer():
            raise ValueError(f"must be {self._kind}; got {show(value)}")
        if self.minimum is not None and value < self.minimum:
            raise ValueError(f"must be at least {self.minimum:g}; got {show(value)}")
        if self.maximum is not None and value > self.maximum:
            raise ValueError(f"must be at most {self.maximum:g}; got {show(value)}")
        return float(value)

    @property
    def _kind(self) -> str:
        return "an integer" if self.integer else "a number"

    def json_schema(self) -> dict[str, Any]:
        """Return type and bounds; those of an integer also where the contract has none."""
        if self.integer:
            least = -_LARGEST_EXACT if self.minimum is None else max(self.minimum, -_LARGEST_EXACT)
            most = _LARGEST_EXACT if self.maximum is None else min(self.maximum, _LARGEST_EXACT)
            return {"type": "integer", "minimum": math.ceil(least), "maximum": math.floor(most)}
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        return {"type": "number"} | {key: limit for key, limit in limits.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class BooleanField:
    """``true`` or ``false``, and neither 1 nor 0."""

    name: str
    required: bool
    numeric: bool = field(default=True, init=False)

    def read(self, value: Any) -> float:
        """Return 1.0 or 0.0."""
        if type(value) is not bool:
            raise ValueError(f"must be true or false; got {show(value)}")
        return float(value)

    def json_schema(self) -> dict[str, Any]:
        """Return the type."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class DateField:
    """An ISO date, ``YYYY-MM-DD``."""

    name: str
    required: bool
    numeric: bool = field(default=True, init=False)

    def read(self, value: Any) -> float:
        """Return the date as days since 1970-01-01."""
        if type(value) is not str or not _ISO_DATE.fullmatch(value):
            raise ValueError(f'must be a date such as "2015-05-27"; got {show(value)}')
        try:
            return days(date.fromisoformat(value))
        except ValueError as err:
            raise ValueError(f"must be a date of the calendar; got {show(value)}") from err

    def json_schema(self) -> dict[str, Any]:
        """Return type and format."""
        return {"type": "string", "format": "date"}


@dataclass(frozen=True, slots=True)
class TextField:
    """A text; of a category with listed values, one of these in any case, returned as listed."""

    name: str
    required: bool
    categories: tuple[str, ...] | None
    by_case: dict[str, str]
    numeric: bool = field(default=False, init=False)

    def read(self, value: Any) -> str:
        """Return the text."""
        if type(value) is not str:
            raise ValueError(f"must be a text in quotes; got {show(value)}")
        if self.categories is None or value in self.categories:
            return value
        known = self.by_case.get(value.casefold())
        if known is None:
            listed = ", ".join(self.categories[:20]) + (", …" if len(self.categories) > 20 else "")
            raise ValueError(f"must be one of {listed}; got {show(value)}")
        return known

    def json_schema(self) -> dict[str, Any]:
        """Return the type and the listed values."""
        schema: dict[str, Any] = {"type": "string"}
        return schema if self.categories is None else {**schema, "enum": list(self.categories)}


Field = NumberField | BooleanField | DateField | TextField
"""A field by its contract, strict about types so that nothing is quietly turned into another. Its
``read`` returns the canonical form of a JSON value that is neither missing nor null, or raises a
ValueError whose message completes the sentence "<field> ...": a problem to be listed, no more."""


def field_of(column: Column) -> Field:
    """Return the request field of a contract's column; one that may be missing may be null or left out."""
    required = not column.nullable
    match column.type:
        case "integer" | "number":
            integer = column.type == "integer"
            return NumberField(column.name, required, integer, column.minimum, column.maximum)
        case "boolean":
            return BooleanField(column.name, required)
        case "date":
            return DateField(column.name, required)
        case "category" | "text":
            return TextField(column.name, required, column.categories, _by_case(column.categories or ()))


def _by_case(categories: Sequence[str]) -> dict[str, str]:
    """Return categories by their case-folded form, where that form is one category's alone."""
    folded = [category.casefold() for category in categories]
    return {key: value for key, value in zip(folded, categories, strict=True) if folded.count(key) == 1}


def show(value: Any) -> str:
    """Return a JSON value as a caller wrote it, cut to what a message can hold."""
    if type(value) in (dict, list):
        return "an object" if type(value) is dict else "a list"
    if type(value) is int and abs(value) > 10**40:
        return "an integer of more than 40 digits"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"

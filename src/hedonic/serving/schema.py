"""The request schema of a contract: JSON in, canonical rows or every problem at once out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract, Rule, Severity
from hedonic.data.rules import RowRule
from hedonic.serving.field_table import FieldTable
from hedonic.serving.fields import (
    MISSING,
    NAN,
    BooleanField,
    DateField,
    Field,
    NumberField,
    TextField,
    field_of,
    show,
)
from hedonic.serving.problems import Problem, RequestRefused, clip, refused
from hedonic.serving.unique_json import parse, quick_instances

VALUATION_DATE = "valuation_date"
FEW_ROWS = 10
"""Up to so many rows, rules are faster row by row than for all rows at once."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a request that met the contract.

    Attributes:
        columns: canonical columns, the time column under its own name, ready for a model.
        numeric: the names of the numeric columns, in the order of ``numbers``.
        numbers: their values, shape (n_numeric, n_rows).
        warnings: for each row, the rules of lesser severity that it breaks.
    """

    columns: dict[str, npt.NDArray[Any]]
    numeric: tuple[str, ...]
    numbers: npt.NDArray[np.float64]
    warnings: list[list[str]]

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        return len(self.warnings)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of several requests to one schema, one after the other."""
        first = parts[0]
        if len(parts) == 1:
            return first
        numbers = np.concatenate([part.numbers for part in parts], axis=1)
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.concatenate([part.columns[name] for part in parts])
            for name in first.columns
            if name not in first.numeric
        }
        columns.update(zip(first.numeric, numbers, strict=True))
        return cls(columns, first.numeric, numbers, [told for part in parts for told in part.warnings])


class RequestSchema:
    """The fields, bounds, categories and row rules that a contract puts on a request."""

    def __init__(self, contract: Contract, valuation_date_default: float | None = None) -> None:
        """Derive the schema from ``contract``.

        Args:
            contract: what a request is held against.
            valuation_date_default: days since 1970-01-01 that stand for a missing valuation date.
        """
        self.contract = contract
        self._default = {VALUATION_DATE: NAN if valuation_date_default is None else valuation_date_default}
        self.max_rows = contract.serve.max_rows
        self._fields: dict[str, Field] = {column.name: field_of(column) for column in contract.inputs}
        self._column_names = {name: name for name in self._fields}
        if contract.time_column is not None:
            self._fields[VALUATION_DATE] = DateField(VALUATION_DATE, required=False)
            self._column_names[VALUATION_DATE] = contract.time_column
        self._table = FieldTable(self._fields, self._default)
        self._numeric = [name for name, field in self._fields.items() if field.numeric]
        self._texts = [name for name, field in self._fields.items() if not field.numeric]
        self.numeric = tuple(self._column_names[name] for name in self._numeric)
        parsed = [(rule, RowRule.parse(rule.rule)) for rule in contract.rules]
        self._rules = [(rule, row_rule) for rule, row_rule in parsed if row_rule.columns <= {*self.numeric}]
        self._told = [pair for pair in self._rules if pair[0].severity is not Severity.INFO]

    def read(self, body: bytes) -> Rows:
        """Return the rows in a request's body.

        Raises:
            RequestRefused: the body is not ``{"instances": [...]}`` with 1 to ``max_rows`` rows, or a
                row is not what the contract says; with every problem.
        """
        quick = quick_instances(body)
        if quick is not None and len(quick) <= self.max_rows:
            values = self._table.read(quick)  # holds integers that a float holds exactly, and no others
            if values is not None:
                return self._rows(values, len(quick), [])
        try:
            content = parse(body)
        except RequestRefused:
            raise
        except (ValueError, RecursionError) as err:
            reason = "nested too deep" if isinstance(err, RecursionError) else str(err)
            raise RequestRefused("invalid_json", f"the body is not JSON: {reason}") from err
        if type(content) is not dict:
            raise refused([Problem("", f'must be an object {{"instances": [...]}}; got {show(content)}')])
        problems = [
            Problem(clip(name), 'unknown field; a request has "instances" alone')
            for name in content
            if name != "instances"
        ]
        instances = content.get("instances", MISSING)
        if instances is MISSING:
            problems.append(Problem("instances", "missing"))
        elif type(instances) is not list:
            problems.append(Problem("instances", f"must be a list of objects; got {show(instances)}"))
        elif not 1 <= len(instances) <= self.max_rows:
            found = f"must hold 1 to {self.max_rows} rows; got {len(instances)}"
            problems.append(Problem("instances", found))
            instances = MISSING
        if type(instances) is not list:
            raise refused(problems)
        return self._check(instances, problems)

    def check(self, instances: Sequence[Any]) -> Rows:
        """Return the instances as rows for a model.

        Raises:
            RequestRefused: with every problem of every row.
        """
        return self._check(instances, [])

    def _check(self, instances: Sequence[Any], problems: list[Problem]) -> Rows:
        values = None if problems else self._table.read(instances)
        if values is None:
            values = self._values(instances, problems)
        return self._rows(values, len(instances), problems)

    def _rows(self, values: Mapping[str, Sequence[Any]], n_rows: int, problems: list[Problem]) -> Rows:
        """Return canonical values as rows, unless there are problems with them."""
        numbers = np.array([values[name] for name in self._numeric], dtype=np.float64)
        numbers = numbers.reshape(len(self._numeric), n_rows)
        columns: dict[str, npt.NDArray[Any]] = {}
        for name in self._texts:
            column = columns[self._column_names[name]] = np.empty(n_rows, dtype=object)
            column[:] = values[name]
        columns.update(zip(self.numeric, numbers, strict=True))
        warnings = self._apply_rules(columns, numbers, problems)
        if problems:
            raise refused(problems)
        return Rows(columns, self.numeric, numbers, warnings)

    def _values(self, instances: Sequence[Any], problems: list[Problem]) -> dict[str, Sequence[Any]]:
        """Return values by field; what has a problem is missing, so that rules pass over it."""
        values: dict[str, list[Any]] = {name: [] for name in self._fields}
        for position, instance in enumerate(instances):
            row = instance
            if type(instance) is not dict:
                problems.append(Problem(f"instances[{position}]", f"must be an object; got {show(instance)}"))
                row = {}
            n_known = 0
            for name, field in self._fields.items():
                value = row.get(name, MISSING)
                n_known += value is not MISSING
                read: Any = self._default.get(name, NAN) if field.numeric else None
                if value is not MISSING and value is not None:
                    try:
                        read = field.read(value)
                    except ValueError as err:
                        problems.append(Problem(f"instances[{position}].{name}", str(err)))
                        read = NAN if field.numeric else None  # no default: rules pass over it
                elif field.required and row is instance:
                    what = "missing" if value is MISSING else "must not be null"
                    problems.append(Problem(f"instances[{position}].{name}", what))
                values[name].append(read)
            if n_known < len(row):
                problems += [self._unknown(position, name) for name in row if name not in self._fields]
        return {**values}

    def _unknown(self, position: int, name: str) -> Problem:
        near = difflib.get_close_matches(name, self._fields, n=1) if len(name) <= 64 else []
        hint = f"; did you mean {near[0]!r}?" if near else "; see the schema at /docs.json"
        return Problem(f"instances[{position}].{clip(name)}", f"unknown field{hint}")

    def _apply_rules(
        self, columns: dict[str, Any], numbers: npt.NDArray[np.float64], problems: list[Problem]
    ) -> list[list[str]]:
        """Return the broken rules of severity warning, by row; the critical ones become problems."""
        n_rows = numbers.shape[1]
        warnings: list[list[str]] = [[] for _ in range(n_rows)]
        rows = []
        if n_rows <= FEW_ROWS:
            rows = [dict(zip(self.numeric, row, strict=True)) for row in numbers.T.tolist()]
        for rule, row_rule in self._told:
            if rows:
                broken = [n for n, row in enumerate(rows) if not row_rule.holds_for(row)]
            else:
                holds = row_rule.holds(columns)
                broken = [] if holds.all() else np.flatnonzero(~np.broadcast_to(holds, (n_rows,))).tolist()
            for row in broken:
                if rule.severity is Severity.CRITICAL:
                    problems.append(Problem(f"instances[{row}]", _broken(rule)))
                else:
                    warnings[row].append(_broken(rule))
        return warnings

    def example(self) -> dict[str, Any]:
        """Return one row from the contract's examples, such as a caller would send."""
        chosen = {column.name: column.example for column in self.contract.inputs}
        return {
            name: _canonical(
                self._fields[name], value if value is not None else _stand_in(self._fields[name])
            )
            for name, value in chosen.items()
            if value is not None or self._fields[name].required
        }

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema (2020-12) of a request, with an example that validates."""
        described = {column.name: column for column in self.contract.inputs}
        properties: dict[str, Any] = {}
        for name, field in self._fields.items():
            properties[name] = _or_null(field.json_schema(), field.required)
            if name in described:
                unit = f" [{described[name].unit}]" if described[name].unit else ""
                case = "; in any case" if "enum" in properties[name] else ""
                properties[name]["description"] = described[name].description + unit + case
            else:
                told = "The day the estimate is for; default: the last day of training"
                properties[name]["description"] = told
        row = {
            "type": "object",
            "additionalProperties": False,
            "required": [name for name, field in self._fields.items() if field.required],
            "properties": properties,
        }
        rules = " ".join(f"{rule.description} ({rule.rule})." for rule, _ in self._rules)
        if rules and self.contract.time_column is not None:
            rules += f" In these rules {self.contract.time_column} is the {VALUATION_DATE}."
        rows = {"type": "array", "minItems": 1, "maxItems": self.max_rows, "items": row}
        return {
            "title": "PredictRequest",
            "description": f"{self.contract.title}. {rules}".strip(),
            "type": "object",
            "additionalProperties": False,
            "required": ["instances"],
            "properties": {"instances": rows},
            "example": {"instances": [self.example()]},
        }


def _or_null(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    """Return a field's schema, that takes null too where the field may be missing."""
    if required:
        return schema
    listed = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **listed}


def _broken(rule: Rule) -> str:
    return f"{rule.description.rstrip('.')} (rule {rule.name}: {rule.rule})"


def _stand_in(field: Field) -> Any:
    """Return a value for an input whose contract gives no example."""
    match field:
        case BooleanField():
            return False
        case DateField():
            return "2015-05-27"
        case TextField():
            return field.categories[0] if field.categories else "text"
        case NumberField():
            most = 1.0 if field.maximum is None else field.maximum
            return min(most, 1.0) if field.minimum is None else field.minimum


def _canonical(field: Field, value: Any) -> Any:
    """Return an example as JSON writes it: YAML reads dates as dates, and integers may be floats."""
    if isinstance(field, DateField):
        return str(value)
    if isinstance(value, float) and field.json_schema()["type"] == "integer" and math.isfinite(value):
        return int(value)
    return value

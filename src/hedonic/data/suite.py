"""The checks that a contract asks for: those it implies and those it states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from hedonic.data.contract import Column, Contract, Expectation, Rule, Severity
from hedonic.data.rules import RowRule

FINITE = "expect_column_values_to_be_finite"
ROW_RULE = "expect_row_rule_to_hold"

# pandas' names for the canonical types. A column of integers or booleans with gaps changes its type
# (float64, object), which is for the check of presence to judge.
_PANDAS_TYPES = {
    "integer": ["int64", "float64"],
    "number": ["float64"],
    "boolean": ["bool", "bool_"],
    "category": ["str"],
    "text": ["str"],
    "date": ["datetime64"],
}


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation of a suite, by its Great Expectations name and arguments.

    ``complaint`` completes the sentence "3 rows …"; ``columns`` are what it speaks of.
    """

    name: str
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    description: str
    complaint: str
    columns: tuple[str, ...]


def derive_checks(contract: Contract, as_of: date) -> tuple[Check, ...]:
    """Return every check of the contract: implied ones, then row rules, then stated expectations.

    Args:
        contract: the data set's contract.
        as_of: the date after which no row may be dated.
    """
    checks = [*_table_checks(contract)]
    for column in contract.columns:
        checks += _column_checks(contract, column, as_of)
    checks += [_rule_check(contract, rule) for rule in contract.rules]
    checks += _stated_checks(contract)
    return tuple(checks)


def _table_checks(contract: Contract) -> Iterator[Check]:
    names = [column.name for column in contract.columns]
    yield _check(
        "columns",
        "expect_table_columns_to_match_set",
        {"column_set": names, "exact_match": True},
        "The table has the columns of the contract and no others",
    )
    if not any(stated.type == "expect_table_row_count_to_be_between" for stated in contract.expectations):
        yield _check("rows", "expect_table_row_count_to_be_between", {"min_value": 1}, "The table has rows")
    key = [name for name in (contract.id_column, contract.time_column) if name is not None]
    if contract.id_column is None:
        return
    one = len(key) == 1
    both = " and ".join(key)
    yield _check(
        "no-duplicates",
        "expect_column_values_to_be_unique" if one else "expect_compound_columns_to_be_unique",
        {"column": key[0]} if one else {"column_list": key},
        f"No two rows have the same {both}",
        f"repeat {both}",
        key,
    )


def _column_checks(contract: Contract, column: Column, as_of: date) -> Iterator[Check]:
    name = column.name
    yield _type_check(column)
    if not column.nullable:
        yield _check(
            f"{name}-present",
            "expect_column_values_to_not_be_null",
            {"column": name},
            f"Every row has {name}",
            f"have no {name}",
            [name],
        )
    if column.minimum is not None or column.maximum is not None:
        limits = {"min_value": column.minimum, "max_value": column.maximum}
        yield _check(
            f"{name}-bounds",
            "expect_column_values_to_be_between",
            {"column": name, **{key: value for key, value in limits.items() if value is not None}},
            f"{name} lies within what is possible",
            f"have {name} {_outside(column)}",
            [name],
        )
    # Two bounds leave no room for an infinite value.
    if column.type == "number" and (column.minimum is None or column.maximum is None):
        yield _check(
            f"{name}-finite",
            FINITE,
            {"column": name},
            f"{name} is finite",
            f"have an infinite {name}",
            [name],
        )
    if column.categories is not None:
        yield _check(
            f"{name}-categories",
            "expect_column_values_to_be_in_set",
            {"column": name, "value_set": list(column.categories)},
            f"{name} is one of the {len(column.categories)} known values",
            f"have a {name} that is none of the {len(column.categories)} in the contract",
            [name],
        )
    if name == contract.time_column:
        # A rule, because it counts in days: no time zone, no unit of time.
        days = as_of.toordinal() - date(1970, 1, 1).toordinal()
        yield _check(
            f"{name}-not-in-the-future",
            ROW_RULE,
            {"rule": f"{name} <= {days}", "column_list": _two_or_more(contract, [name])},
            f"{name} is not after {as_of}",
            f"have a {name} after {as_of}",
            [name],
        )


def _type_check(column: Column) -> Check:
    types = _PANDAS_TYPES[column.type]
    one = len(types) == 1
    asked: dict[str, Any] = {"type_": types[0]} if one else {"type_list": types}
    return _check(
        f"{column.name}-type",
        f"expect_column_values_to_be_{'of_type' if one else 'in_type_list'}",
        {"column": column.name, **asked},
        f"{column.name} is of type {column.type}",
        f"have a {column.name} that is not of type {column.type}",
        [column.name],
    )


def _rule_check(contract: Contract, rule: Rule) -> Check:
    columns = sorted(RowRule.parse(rule.rule).columns)
    return Check(
        name=f"rule-{rule.name}",
        type=ROW_RULE,
        kwargs={"rule": rule.rule, "column_list": _two_or_more(contract, columns)},
        severity=rule.severity,
        description=rule.description,
        complaint=f"break the rule {rule.name} ({rule.rule})",
        columns=tuple(columns),
    )


def _two_or_more(contract: Contract, columns: list[str]) -> list[str]:
    """Return the columns, with the target or another for company: GX takes no list of one."""
    others = [contract.target.column, *(column.name for column in contract.columns)]
    return columns if len(columns) > 1 else [*columns, next(o for o in others if o not in columns)]


def _stated_checks(contract: Contract) -> Iterator[Check]:
    taken: dict[str, int] = {}
    for stated in contract.expectations:
        columns = _columns_of(stated)
        kind = stated.type.removeprefix("expect_").replace("_", "-")
        name = "-".join(["stated", kind, *columns])
        taken[name] = taken.get(name, 0) + 1
        description = stated.description or f"{stated.type} of {', '.join(columns) or 'the table'}"
        yield Check(
            name=name if taken[name] == 1 else f"{name}-{taken[name]}",
            type=stated.type,
            kwargs=_with_times(contract, stated.kwargs),
            severity=stated.severity,
            description=description,
            complaint=f"fail {stated.type} of {', '.join(columns) or 'the table'} ({description})",
            columns=columns,
        )


def _columns_of(stated: Expectation) -> tuple[str, ...]:
    one = [stated.kwargs[key] for key in ("column", "column_A", "column_B") if key in stated.kwargs]
    return (*one, *stated.kwargs.get("column_list", ()))


def _with_times(contract: Contract, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with bounds of dates as midnight: GX compares instants, not days."""
    column = next((c for c in contract.columns if c.name == kwargs.get("column")), None)
    if column is None or column.type != "date":
        return dict(kwargs)
    bounds = ("min_value", "max_value")
    return {**kwargs, **{key: f"{kwargs[key]}T00:00:00" for key in bounds if _is_day(kwargs.get(key))}}


def _is_day(value: Any) -> bool:
    return isinstance(value, date) or (isinstance(value, str) and len(value) == len("2000-01-01"))


def _outside(column: Column) -> str:
    low, high = column.minimum, column.maximum
    if low is None:
        return f"> {high:.12g}"
    return f"< {low:.12g}" if high is None else f"outside {low:.12g} to {high:.12g}"


def _check(
    name: str,
    kind: str,
    kwargs: Mapping[str, Any],
    description: str,
    complaint: str | None = None,
    columns: list[str] | None = None,
) -> Check:
    return Check(
        name, kind, kwargs, Severity.CRITICAL, description, complaint or f"fail {kind}", tuple(columns or ())
    )
